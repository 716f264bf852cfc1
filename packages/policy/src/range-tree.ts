import { type AddressValue, covers, type Interval, rangeInterval } from './address-values.ts';
import type { RuleSet } from './rule-sets.ts';

/** A range of addresses that a rule names, in the tree of all ranges of its family. */
export class RangeNode implements Interval {
  /** Canonical text. */
  readonly text: string;
  readonly first: AddressValue;
  readonly last: AddressValue;
  parent: RangeNode | undefined;
  /** Sorted and disjoint. */
  children: RangeNode[] = [];
  /** The rules that name the range or a wider one as a peer. */
  rules: RuleSet;
  /** The number of peers that need the range. The roots of the trees are needed always. */
  users = 0;

  constructor(text: string, parent: RangeNode | undefined, rules: RuleSet) {
    this.text = text;
    const { first, last } = rangeInterval(text);
    this.first = first;
    this.last = last;
    this.parent = parent;
    this.rules = rules;
  }

  /** True for a range of one address. */
  get isHost(): boolean {
    return this.first === this.last;
  }

  *subtree(): Generator<RangeNode> {
    yield this;
    for (const child of this.children) yield* child.subtree();
  }
}

/** All ranges of one family, by inclusion. */
export class RangeTree {
  readonly root: RangeNode;
  readonly #byText = new Map<string, RangeNode>();

  constructor(text: string, rules: RuleSet) {
    this.root = new RangeNode(text, undefined, rules);
    this.#byText.set(text, this.root);
  }

  get(text: string): RangeNode | undefined {
    return this.#byText.get(text);
  }

  /** Returns the narrowest range that contains the interval. */
  narrowest({ first, last }: Interval): RangeNode {
    for (let node = this.root; ; ) {
      const child = childBefore(node.children, first);
      if (!child || !covers(child, first, last)) return node;
      node = child;
    }
  }

  /** Inserts a range that is not there yet. It has the rules of the next wider one. */
  insert(text: string): RangeNode {
    const interval = rangeInterval(text);
    const parent = this.narrowest(interval);
    const node = new RangeNode(text, parent, parent.rules);
    const inner = parent.children.filter(({ first, last }) => covers(node, first, last));
    for (const child of inner) child.parent = node;
    node.children = inner;
    parent.children = parent.children.filter((child) => child.parent === parent);
    parent.children.splice(indexAfter(parent.children, node.first), 0, node);
    this.#byText.set(text, node);
    return node;
  }

  /** Removes a range. Its place in the tree goes to its children. */
  remove(node: RangeNode): void {
    const parent = node.parent!;
    for (const child of node.children) child.parent = parent;
    parent.children.splice(parent.children.indexOf(node), 1, ...node.children);
    this.#byText.delete(node.text);
  }
}

/** Returns the number of nodes that begin at or before a value. */
function indexAfter(sorted: readonly RangeNode[], value: AddressValue): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]!.first <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function childBefore(sorted: readonly RangeNode[], value: AddressValue): RangeNode | undefined {
  return sorted[indexAfter(sorted, value) - 1];
}
