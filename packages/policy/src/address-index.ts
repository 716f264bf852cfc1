import { type AddressValue, covers } from './address-values.ts';
import { Cell, Holding, type Member, type PeerClass, type Profile, RangeEntry } from './groups.ts';
import { type RangeNode, RangeTree } from './range-tree.ts';
import type { ModelRule, RuleSet, RuleSets } from './rule-sets.ts';

interface Block {
  readonly range: string;
  readonly except: readonly string[];
}

/**
 * Finds the rules of addresses: those of the profile of its owner, and those of the ranges that contain it. Keeps
 * which cells an update has changed, for ClassAllocator.
 */
export class AddressIndex {
  readonly #sets: RuleSets;
  readonly #trees: { readonly IPv4: RangeTree; readonly IPv6: RangeTree };
  readonly #cellsOf = new Map<RangeNode, Set<Cell>>();
  readonly #holdings = new Map<AddressValue, Holding>();
  /** The ranges' own entries, and addresses that only a range names. */
  readonly #ownCells = new Map<RangeNode, Cell>();
  /** Cells whose rules may have changed. */
  readonly dirty = new Set<Cell>();
  /** Addresses that have left a cell, and the class that they had before the update. */
  readonly moved = new Map<Holding, PeerClass | undefined>();

  constructor(sets: RuleSets) {
    this.#sets = sets;
    this.#trees = {
      IPv4: new RangeTree('0.0.0.0/0', sets.empty),
      IPv6: new RangeTree('::/0', sets.empty),
    };
  }

  /** Returns the number of addresses that have an owner or a range of their own. */
  get size(): number {
    return this.#holdings.size;
  }

  /** Returns an address, which is made if it is not there yet. */
  holding(value: AddressValue): Holding {
    let holding = this.#holdings.get(value);
    if (!holding) {
      holding = new Holding(value);
      this.#holdings.set(value, holding);
    }
    return holding;
  }

  /** Gives an address to a pod or Node, or takes it from its last owner. */
  setOwner(holding: Holding, owner: Member | undefined): void {
    const { value } = holding;
    holding.owner = owner;
    const range = this.#treeOf(value).narrowest({ first: value, last: value });
    if (owner || range.isHost) this.#move(holding, this.#cell(owner?.group.profile, range));
    else {
      this.#move(holding, undefined);
      this.#holdings.delete(value);
    }
  }

  /** Marks the addresses of a profile whose rules have changed. */
  touch({ cells }: Profile): void {
    for (const cell of cells.values()) this.dirty.add(cell);
  }

  /** Moves the addresses of a pod or Node to the profile of its group. */
  follow({ group, holdings }: Member): void {
    for (const holding of holdings) {
      this.#move(holding, this.#cell(group.profile, holding.cell!.range));
    }
  }

  /** Makes the addresses of a range, without those of its exceptions, peers of a rule. */
  addBlock(rule: ModelRule, block: Block): void {
    for (const text of [block.range, ...block.except]) this.#use(text);
    this.#eachOf(block, (node) => this.#setRules(node, this.#sets.with(node.rules, rule)));
  }

  removeBlock(rule: ModelRule, block: Block): void {
    this.#eachOf(block, (node) => this.#setRules(node, this.#sets.without(node.rules, rule)));
    for (const text of [block.range, ...block.except]) this.#giveUp(text);
  }

  /**
   * Returns the rules that a cell must have a class for, or undefined if its addresses have those of the range that
   * contains them.
   */
  rulesOf({ profile, range }: Cell): RuleSet | undefined {
    // The entry of a narrower range hides that of a wider one, so it is needed even without rules.
    const isNeeded = range.parent !== undefined || range.rules !== this.#sets.empty;
    if (!profile) return isNeeded ? range.rules : undefined;
    const rules = this.#sets.union(range.rules, profile.rules);
    return rules === range.rules && !(range.isHost && isNeeded) ? undefined : rules;
  }

  #treeOf(value: AddressValue): RangeTree {
    return typeof value === 'bigint' ? this.#trees.IPv6 : this.#trees.IPv4;
  }

  #treeOfRange(range: string): RangeTree {
    return range.includes(':') ? this.#trees.IPv6 : this.#trees.IPv4;
  }

  #eachOf({ range, except }: Block, apply: (node: RangeNode) => void): void {
    const hidden = new Set(except);
    const visit = (node: RangeNode) => {
      if (hidden.has(node.text)) return;
      apply(node);
      for (const child of node.children) visit(child);
    };
    // An exception may also be the range itself, or wider.
    const node = this.#treeOfRange(range).get(range)!;
    for (let outer = node.parent; outer; outer = outer.parent) if (hidden.has(outer.text)) return;
    visit(node);
  }

  #setRules(node: RangeNode, rules: RuleSet): void {
    if (rules === node.rules) return;
    this.#sets.replace(node.rules, rules);
    node.rules = rules;
    for (const cell of this.#cellsOf.get(node) ?? []) this.dirty.add(cell);
  }

  #use(text: string): void {
    const tree = this.#treeOfRange(text);
    const known = tree.get(text);
    if (known && (known.users++ > 0 || known.parent)) return;
    const node = known ?? tree.insert(text);
    if (!known) {
      node.users = 1;
      this.#sets.replace(undefined, node.rules);
      this.#takeFromParent(node);
    }
    if (!node.isHost) {
      this.#move(new RangeEntry(node.first, text), this.#cell(undefined, node));
    } else if (!this.#holdings.has(node.first)) {
      this.#move(this.holding(node.first), this.#cell(undefined, node));
    }
  }

  #giveUp(text: string): void {
    const tree = this.#treeOfRange(text);
    const node = tree.get(text)!;
    node.users--;
    if (node.users > 0) return;
    for (const holding of [...(this.#ownCells.get(node)?.holdings ?? [])]) {
      this.#move(holding, undefined);
      if (node.isHost) this.#holdings.delete(holding.value);
    }
    const { parent } = node;
    if (!parent) return;
    for (const cell of [...(this.#cellsOf.get(node) ?? [])]) this.#merge(cell, parent);
    this.#cellsOf.delete(node);
    this.#sets.replace(node.rules, undefined);
    tree.remove(node);
  }

  /** Moves the addresses within a new range there from the next wider one. */
  #takeFromParent(node: RangeNode): void {
    const parent = node.parent!;
    for (const cell of [...(this.#cellsOf.get(parent) ?? [])]) {
      const { profile } = cell;
      if (!profile) continue;
      const within = cell.holdings.filter(({ value }) => covers(node, value));
      if (within.length * 2 <= cell.holdings.length) {
        for (const holding of within) this.#move(holding, this.#cell(profile, node));
        continue;
      }
      // Most of it moves, so the cell goes there and the others come back.
      const outside = cell.holdings.filter(({ value }) => !covers(node, value));
      this.#rekey(cell, node);
      for (const holding of outside) this.#move(holding, this.#cell(profile, parent));
    }
  }

  /** Moves all addresses of a cell to a range where the profile may have addresses already. */
  #merge(cell: Cell, range: RangeNode): void {
    const other = cell.profile!.cells.get(range);
    if (!other) this.#rekey(cell, range);
    else for (const holding of [...cell.holdings]) this.#move(holding, other);
  }

  #rekey(cell: Cell, range: RangeNode): void {
    const { cells } = cell.profile!;
    cells.delete(cell.range);
    this.#cellsOf.get(cell.range)?.delete(cell);
    cell.range = range;
    cells.set(range, cell);
    this.#register(cell);
  }

  #cell(profile: Profile | undefined, range: RangeNode): Cell {
    const cells = profile ? profile.cells : this.#ownCells;
    const known = cells.get(range);
    if (known) return known;
    const made = new Cell(profile, range);
    cells.set(range, made);
    this.#register(made);
    return made;
  }

  #register(cell: Cell): void {
    const cells = this.#cellsOf.get(cell.range);
    if (cells) cells.add(cell);
    else this.#cellsOf.set(cell.range, new Set([cell]));
    this.dirty.add(cell);
  }

  #move(holding: Holding, to: Cell | undefined): void {
    const from = holding.cell;
    if (from === to) return;
    // Without a class here and there, the class of the cell decides, if it gets one.
    const isPlain = !from?.class && to && !to.class;
    if (!isPlain && !this.moved.has(holding)) this.moved.set(holding, from?.class);
    if (from) {
      const last = from.holdings.pop()!;
      if (last !== holding) {
        from.holdings[holding.index] = last;
        last.index = holding.index;
      }
      if (from.holdings.length === 0) this.#drop(from);
    }
    holding.cell = to;
    if (!to) return;
    holding.index = to.holdings.length;
    to.holdings.push(holding);
  }

  /** Removes a cell without addresses. It stays marked, so that its class loses it. */
  #drop(cell: Cell): void {
    const { profile, range } = cell;
    (profile ? profile.cells : this.#ownCells).delete(range);
    this.#cellsOf.get(range)?.delete(cell);
    this.dirty.add(cell);
  }
}
