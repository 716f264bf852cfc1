import { addressValue, covers } from './address-values.ts';
import { type Group, type Holding, type PeerClass, Spot } from './groups.ts';
import { type RangeNode, RangeTree } from './range-tree.ts';
import type { ModelRule, RuleSet, RuleSets } from './rule-sets.ts';

interface Block {
  readonly range: string;
  readonly except: readonly string[];
}

/**
 * Finds the rules of addresses: those of the group that has the address, and those of the ranges that contain it. Keeps
 * which spots an update has changed, for ClassAllocator.
 */
export class AddressIndex {
  readonly #sets: RuleSets;
  readonly #trees: { readonly IPv4: RangeTree; readonly IPv6: RangeTree };
  readonly #spotsOf = new Map<RangeNode, Set<Spot>>();
  readonly #holdings = new Map<string, Holding>();
  /** The ranges' own entries, and addresses that only a range names. */
  readonly #ownSpots = new Map<RangeNode, Spot>();
  /** Spots whose rules may have changed. */
  readonly dirty = new Set<Spot>();
  /** Addresses that have left a spot, and the class that they had before the update. */
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

  /** Gives an address to a group, or takes it from its last owner. */
  setOwner(address: string, owner: Group | undefined): void {
    let holding = this.#holdings.get(address);
    if (!holding) {
      if (!owner) return;
      holding = { text: address, value: addressValue(address), spot: undefined };
      this.#holdings.set(address, holding);
    }
    const range = this.#treeOf(address).narrowest({ first: holding.value, last: holding.value });
    if (owner || range.isHost) this.#move(holding, this.#spot(owner, range));
    else {
      this.#move(holding, undefined);
      this.#holdings.delete(address);
    }
  }

  /** Marks the addresses of a group whose rules have changed. */
  touch(group: Group): void {
    for (const spot of group.spots.values()) this.dirty.add(spot);
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
   * Returns the rules that a spot must have a class for, or undefined if its addresses have those of the range that
   * contains them.
   */
  rulesOf({ owner, range }: Spot): RuleSet | undefined {
    // The entry of a narrower range hides that of a wider one, so it is needed even without rules.
    const isNeeded = range.parent !== undefined || range.rules !== this.#sets.empty;
    if (!owner) return isNeeded ? range.rules : undefined;
    const rules = this.#sets.union(range.rules, owner.rules);
    return rules === range.rules && !(range.isHost && isNeeded) ? undefined : rules;
  }

  #treeOf(text: string): RangeTree {
    return text.includes(':') ? this.#trees.IPv6 : this.#trees.IPv4;
  }

  #eachOf({ range, except }: Block, apply: (node: RangeNode) => void): void {
    const hidden = new Set(except);
    const visit = (node: RangeNode) => {
      if (hidden.has(node.text)) return;
      apply(node);
      for (const child of node.children) visit(child);
    };
    // An exception may also be the range itself, or wider.
    const node = this.#treeOf(range).get(range)!;
    for (let outer = node.parent; outer; outer = outer.parent) if (hidden.has(outer.text)) return;
    visit(node);
  }

  #setRules(node: RangeNode, rules: RuleSet): void {
    if (rules === node.rules) return;
    this.#sets.replace(node.rules, rules);
    node.rules = rules;
    for (const spot of this.#spotsOf.get(node) ?? []) {
      // An address whose group has no rules shares the entry of the range.
      if (!spot.owner || node.isHost || spot.owner.rules !== this.#sets.empty) this.dirty.add(spot);
    }
  }

  #use(text: string): void {
    const tree = this.#treeOf(text);
    const known = tree.get(text);
    if (known && (known.users++ > 0 || known.parent)) return;
    const node = known ?? tree.insert(text);
    if (!known) {
      node.users = 1;
      this.#sets.replace(undefined, node.rules);
      this.#takeFromParent(node);
    }
    this.#addEntry(node);
  }

  #addEntry(node: RangeNode): void {
    if (!node.isHost) {
      const holding: Holding = { text: node.text, value: node.first, spot: undefined };
      this.#move(holding, this.#spot(undefined, node));
      return;
    }
    const [address = ''] = node.text.split('/');
    if (this.#holdings.has(address)) return;
    const holding: Holding = { text: address, value: node.first, spot: undefined };
    this.#holdings.set(address, holding);
    this.#move(holding, this.#spot(undefined, node));
  }

  #giveUp(text: string): void {
    const tree = this.#treeOf(text);
    const node = tree.get(text)!;
    node.users--;
    if (node.users > 0) return;
    const own = this.#ownSpots.get(node);
    for (const holding of [...(own?.holdings ?? [])]) {
      this.#move(holding, undefined);
      if (node.isHost) this.#holdings.delete(holding.text);
    }
    const { parent } = node;
    if (!parent) return;
    for (const spot of [...(this.#spotsOf.get(node) ?? [])]) this.#rekey(spot, parent);
    this.#spotsOf.delete(node);
    this.#sets.replace(node.rules, undefined);
    tree.remove(node);
  }

  /** Moves the addresses within a new range there from the next wider one. */
  #takeFromParent(node: RangeNode): void {
    for (const spot of [...(this.#spotsOf.get(node.parent!) ?? [])]) {
      if (!spot.owner || spot.first === undefined) continue;
      if (covers(node, spot.first, spot.last)) this.#rekey(spot, node);
      else if (spot.first <= node.last && node.first <= spot.last!) {
        const within = [...spot.holdings].filter(({ value }) => covers(node, value));
        for (const holding of within) this.#move(holding, this.#spot(spot.owner, node));
      }
    }
  }

  /** Moves all addresses of a spot to another range. */
  #rekey(spot: Spot, range: RangeNode): void {
    const owner = spot.owner!;
    if (owner.spots.has(range)) {
      for (const holding of [...spot.holdings]) this.#move(holding, owner.spots.get(range));
      return;
    }
    owner.spots.delete(spot.range);
    this.#spotsOf.get(spot.range)?.delete(spot);
    spot.range = range;
    owner.spots.set(range, spot);
    this.#register(spot);
  }

  #spot(owner: Group | undefined, range: RangeNode): Spot {
    const known = owner ? owner.spots.get(range) : this.#ownSpots.get(range);
    if (known) return known;
    const made = new Spot(owner, range);
    if (owner) owner.spots.set(range, made);
    else this.#ownSpots.set(range, made);
    this.#register(made);
    return made;
  }

  #register(spot: Spot): void {
    const spots = this.#spotsOf.get(spot.range);
    if (spots) spots.add(spot);
    else this.#spotsOf.set(spot.range, new Set([spot]));
    this.dirty.add(spot);
  }

  #move(holding: Holding, to: Spot | undefined): void {
    const from = holding.spot;
    if (from === to) return;
    if (!this.moved.has(holding)) this.moved.set(holding, from?.class);
    holding.spot = to;
    if (to) {
      to.holdings.add(holding);
      if (to.first === undefined || holding.value < to.first) to.first = holding.value;
      if (to.last === undefined || holding.value > to.last) to.last = holding.value;
    }
    from?.holdings.delete(holding);
    if (from?.holdings.size === 0) this.#drop(from);
  }

  /** Removes a spot without addresses. It stays marked, so that its class loses it. */
  #drop(spot: Spot): void {
    const { owner, range } = spot;
    if (owner) owner.spots.delete(range);
    else this.#ownSpots.delete(range);
    this.#spotsOf.get(range)?.delete(spot);
    this.dirty.add(spot);
  }
}
