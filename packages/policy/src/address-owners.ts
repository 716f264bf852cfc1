import type { AddressIndex } from './address-index.ts';
import type { AddressValue } from './address-values.ts';
import { type Member, NodeEntry, PodEntry } from './groups.ts';

interface Claim {
  readonly member: Member;
  readonly values: readonly AddressValue[];
}

/**
 * Decides who has an address. An address is mostly claimed by one object; only contested ones have an entry here. A pod comes before a
 * Node, the pod created last before others, and the Node with the lesser name.
 */
export class AddressOwners {
  readonly #index: AddressIndex;
  readonly #contested = new Map<AddressValue, Set<Member>>();

  constructor(index: AddressIndex) {
    this.#index = index;
  }

  /** Returns the addresses that a pod or Node claims. */
  valuesOf(member: Member): readonly AddressValue[] {
    const values = member.holdings.map(({ value }) => value);
    for (const [value, claims] of this.#contested) {
      if (claims.has(member) && !values.includes(value)) values.push(value);
    }
    return values;
  }

  /** Replaces the claims of a pod or Node by those of its newer version. */
  replace(before: Claim | undefined, after: Claim | undefined): void {
    for (const value of after?.values ?? []) {
      const isKept = before?.values.includes(value) === true;
      this.#change(value, isKept ? before?.member : undefined, after?.member);
    }
    for (const value of before?.values ?? []) {
      if (!after?.values.includes(value)) this.#change(value, before?.member, undefined);
    }
  }

  #change(value: AddressValue, before: Member | undefined, after: Member | undefined): void {
    const holding = this.#index.holding(value);
    const claims = this.#contested.get(value) ?? new Set(holding.owner ? [holding.owner] : []);
    if (before) claims.delete(before);
    if (after) claims.add(after);
    let owner: Member | undefined;
    for (const each of claims) if (!owner || comesBefore(each, owner)) owner = each;
    if (claims.size > 1) this.#contested.set(value, claims);
    else this.#contested.delete(value);
    const last = holding.owner;
    if (last === owner) return;
    if (last) last.holdings = last.holdings.filter((each) => each !== holding);
    this.#index.setOwner(holding, owner);
    if (owner) owner.holdings = owner.holdings.concat(holding);
  }
}

function comesBefore(a: Member, b: Member): boolean {
  if (a instanceof PodEntry && b instanceof PodEntry) {
    return a.createdMs === b.createdMs ? a.key > b.key : a.createdMs > b.createdMs;
  }
  if (a instanceof NodeEntry && b instanceof NodeEntry) return a.record.name < b.record.name;
  return a instanceof PodEntry;
}
