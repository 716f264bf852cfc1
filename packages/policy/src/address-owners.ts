import type { NodeRecord } from '@heddle/objects';
import type { AddressIndex } from './address-index.ts';
import type { Group, PodEntry } from './groups.ts';
import { hasPrecedence } from './policy-world.ts';

interface NodeClaim {
  readonly record: NodeRecord;
  readonly group: Group;
}

/** The objects that claim an address. */
interface Claims {
  readonly pods: Set<PodEntry>;
  readonly nodes: Set<NodeClaim>;
}

/**
 * Decides who has an address. An address is mostly that of one object, whose group AddressIndex knows; only contested ones
 * have an entry here. A pod comes before a Node, the pod created last before others, and the Node with the lesser name.
 */
export class AddressOwners {
  readonly #index: AddressIndex;
  readonly #single = new Map<string, PodEntry | NodeClaim>();
  readonly #contested = new Map<string, Claims>();

  constructor(index: AddressIndex) {
    this.#index = index;
  }

  /** Replaces the claims of a pod by those of its newer version, which may be another group's. */
  replacePod(before: PodEntry | undefined, after: PodEntry | undefined): void {
    this.#replace(before, after, (claims) => claims.pods as Set<PodEntry | NodeClaim>);
  }

  replaceNode(before: NodeClaim | undefined, after: NodeClaim | undefined): void {
    this.#replace(before, after, (claims) => claims.nodes as Set<PodEntry | NodeClaim>);
  }

  #replace<Claim extends PodEntry | NodeClaim>(
    before: Claim | undefined,
    after: Claim | undefined,
    of: (claims: Claims) => Set<PodEntry | NodeClaim>,
  ): void {
    for (const address of new Set([
      ...(after?.record.addresses ?? []),
      ...(before?.record.addresses ?? []),
    ])) {
      const isKept = after?.record.addresses.includes(address) === true;
      const single = this.#single.get(address);
      if (!this.#contested.has(address) && (!single || single === before)) {
        if (isKept) this.#single.set(address, after!);
        else this.#single.delete(address);
        this.#index.setOwner(address, isKept ? after!.group : undefined);
        continue;
      }
      const claims = this.#claims(address, single);
      if (before) of(claims).delete(before);
      if (isKept) of(claims).add(after!);
      this.#settle(address, claims);
    }
  }

  #claims(address: string, single: PodEntry | NodeClaim | undefined): Claims {
    const known = this.#contested.get(address);
    if (known) return known;
    const claims: Claims = { pods: new Set(), nodes: new Set() };
    if (single && single.record.kind === 'pod') claims.pods.add(single as PodEntry);
    else if (single) claims.nodes.add(single as NodeClaim);
    this.#contested.set(address, claims);
    this.#single.delete(address);
    return claims;
  }

  #settle(address: string, { pods, nodes }: Claims): void {
    const [pod] = [...pods].sort((a, b) => (hasPrecedence(a.record, b.record) ? -1 : 1));
    const [node] = [...nodes].sort((a, b) => (a.record.name < b.record.name ? -1 : 1));
    const owner = pod ?? node;
    this.#index.setOwner(address, owner?.group);
    if (pods.size + nodes.size > 1) return;
    this.#contested.delete(address);
    if (owner) this.#single.set(address, owner);
  }
}
