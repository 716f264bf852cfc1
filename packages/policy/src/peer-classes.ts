import type { AddressIndex } from './address-index.ts';
import type { Cell, Holding, PeerClass } from './groups.ts';
import type { PeerChanges, PolicyRule } from './rows.ts';
import type { RuleSet, RuleSets } from './rule-sets.ts';

/**
 * Gives each cell the class of its rules. A class keeps its number and changes its rules in place if all its addresses
 * change alike. The rules of a cell change only by rules that are new or gone, since all other changes move addresses to
 * other cells. So no packet can observe a mixture.
 */
export class ClassAllocator {
  readonly #sets: RuleSets;
  readonly #byRules = new Map<RuleSet, PeerClass>();
  #lastNumber = 0;

  constructor(sets: RuleSets) {
    this.#sets = sets;
  }

  /** Returns the number of classes. */
  get size(): number {
    return this.#byRules.size;
  }

  /** Returns the changes that the marked cells of the index need, and clears the marks. */
  update(index: AddressIndex): PeerChanges {
    const update = new ClassUpdate(this.#sets, this.#byRules, () => ++this.#lastNumber);
    return update.run(index);
  }
}

/** The part of a class that gets the same new rules. */
interface Part {
  readonly cells: Cell[];
  size: number;
}

class ClassUpdate {
  readonly #sets: RuleSets;
  readonly #byRules: Map<RuleSet, PeerClass>;
  readonly #nextNumber: () => number;
  readonly #touched = new Set<PeerClass>();
  /** The new rules of cells that need another class. */
  readonly #pending = new Map<Cell, RuleSet>();
  /** The class before the update, of cells whose class changes. */
  readonly #before = new Map<Cell, PeerClass | undefined>();
  readonly #created = new Map<number, ReadonlySet<PolicyRule>>();
  readonly #gained = new Map<number, readonly PolicyRule[]>();
  readonly #lost = new Map<number, readonly PolicyRule[]>();
  readonly #removed: number[] = [];

  constructor(sets: RuleSets, byRules: Map<RuleSet, PeerClass>, nextNumber: () => number) {
    this.#sets = sets;
    this.#byRules = byRules;
    this.#nextNumber = nextNumber;
  }

  run(index: AddressIndex): PeerChanges {
    this.#keepClasses(this.#partition(index));
    for (const [cell, rules] of this.#pending) this.#enter(cell, rules);
    for (const each of this.#touched) if (each.cells.size === 0) this.#remove(each);
    const assigned = this.#assign(index.moved);
    index.dirty.clear();
    index.moved.clear();
    return {
      created: this.#created,
      gained: this.#gained,
      lost: this.#lost,
      assigned,
      removed: this.#removed,
    };
  }

  /** Returns, of each class, the parts whose rules change. Other cells are pending or leave their class. */
  #partition(index: AddressIndex): ReadonlyMap<PeerClass, ReadonlyMap<RuleSet, Part>> {
    const parts = new Map<PeerClass, Map<RuleSet, Part>>();
    for (const cell of index.dirty) {
      const rules = cell.holdings.length === 0 ? undefined : index.rulesOf(cell);
      const { class: current } = cell;
      if (rules === current?.rules) continue;
      if (current === undefined) this.#pending.set(cell, rules!);
      else if (rules === undefined) this.#leave(cell, current);
      else {
        const ofClass = parts.get(current) ?? new Map<RuleSet, Part>();
        parts.set(current, ofClass);
        const part = ofClass.get(rules) ?? { cells: [], size: 0 };
        ofClass.set(rules, part);
        part.cells.push(cell);
        part.size += cell.holdings.length;
      }
    }
    return parts;
  }

  /** Changes classes in place where that is possible, and makes the other parts pending. */
  #keepClasses(parts: ReadonlyMap<PeerClass, ReadonlyMap<RuleSet, Part>>): void {
    const candidates: { readonly of: PeerClass; readonly rules: RuleSet; readonly part: Part }[] =
      [];
    for (const [current, ofClass] of parts) {
      let changing = 0;
      for (const { cells } of ofClass.values()) changing += cells.length;
      if (changing < current.cells.size) continue;
      this.#byRules.delete(current.rules);
      this.#touched.add(current);
      const [best] = [...ofClass].sort(([, a], [, b]) => b.size - a.size);
      if (best) candidates.push({ of: current, rules: best[0], part: best[1] });
    }
    candidates.sort((a, b) => b.part.size - a.part.size);
    const kept = new Set<Part>();
    for (const { of: current, rules, part } of candidates) {
      if (this.#byRules.has(rules)) continue;
      kept.add(part);
      this.#byRules.set(rules, current);
      const { gained, lost } = difference(current.rules, rules);
      if (gained.length > 0) this.#gained.set(current.number, gained);
      if (lost.length > 0) this.#lost.set(current.number, lost);
      this.#sets.replace(current.rules, rules);
      current.rules = rules;
    }
    for (const [current, ofClass] of parts) {
      for (const [rules, part] of ofClass) {
        if (kept.has(part)) continue;
        for (const cell of part.cells) {
          this.#leave(cell, current);
          this.#pending.set(cell, rules);
        }
      }
    }
  }

  #leave(cell: Cell, current: PeerClass): void {
    this.#before.set(cell, current);
    this.#touched.add(current);
    current.cells.delete(cell);
    cell.class = undefined;
  }

  #enter(cell: Cell, rules: RuleSet): void {
    let target = this.#byRules.get(rules);
    if (!target) {
      target = { number: this.#nextNumber(), rules, cells: new Set() };
      this.#sets.replace(undefined, rules);
      this.#byRules.set(rules, target);
      this.#created.set(target.number, rules.rules);
    }
    if (!this.#before.has(cell)) this.#before.set(cell, undefined);
    target.cells.add(cell);
    cell.class = target;
  }

  #remove(empty: PeerClass): void {
    if (this.#byRules.get(empty.rules) === empty) this.#byRules.delete(empty.rules);
    this.#sets.replace(empty.rules, undefined);
    this.#removed.push(empty.number);
  }

  #assign(moved: ReadonlyMap<Holding, PeerClass | undefined>): Map<string, number | undefined> {
    const assigned = new Map<string, number | undefined>();
    // These come first: the holding of an address may be gone, and another one in its place.
    for (const [holding, before] of moved) {
      const after = holding.cell?.class;
      if (after !== before) assigned.set(holding.text, after?.number);
    }
    for (const [cell, before] of this.#before) {
      if (cell.class === before) continue;
      for (const holding of cell.holdings) {
        if (!moved.has(holding)) assigned.set(holding.text, cell.class?.number);
      }
    }
    return assigned;
  }
}

function difference(before: RuleSet, after: RuleSet) {
  return {
    gained: after.list.filter((rule) => !before.rules.has(rule)),
    lost: before.list.filter((rule) => !after.rules.has(rule)),
  };
}
