import { ownText, type PodRecord, type ServiceRecord } from '@heddle/objects';
import { formatEndpoint } from '@heddle/sys';
import type { Frontend } from './rows.ts';

/** An object that requests frontends. */
export type FrontendOwner = ServiceRecord | PodRecord;

/** Returns the key of a frontend, which only one object can have: `TCP 10.0.0.1 80`. */
export function claimKey(frontend: Frontend): string {
  return ownText(`${frontend.protocol} ${frontend.address} ${frontend.port}`);
}

/**
 * Compares the precedence of two objects that request one frontend: a pod that is being deleted
 * comes last; otherwise the older object by creationTimestamp comes first (one without a timestamp
 * comes last), then by namespace, name and kind. Negative if `a` comes first.
 */
export function bySeniority(a: FrontendOwner, b: FrontendOwner): number {
  if (isLeaving(a) !== isLeaving(b)) return isLeaving(a) ? 1 : -1;
  if (a.createdMs !== b.createdMs) return a.createdMs < b.createdMs ? -1 : 1;
  if (a.namespace !== b.namespace) return a.namespace < b.namespace ? -1 : 1;
  if (a.name !== b.name) return a.name < b.name ? -1 : 1;
  return a.kind < b.kind ? -1 : a.kind > b.kind ? 1 : 0;
}

function isLeaving(owner: FrontendOwner): boolean {
  return owner.kind === 'pod' && owner.terminating;
}

/**
 * Splits the frontends that an object asks for into those that it gets and sentences about the
 * others. `taken` has the claims of its previous ports; those of this port are added. `keptBy`
 * returns the other object that has a frontend.
 */
export function resolveConflicts(
  wanted: readonly Frontend[],
  taken: Set<string>,
  self: 'service' | 'pod',
  keptBy: (frontend: Frontend) => string | undefined,
): { readonly kept: readonly Frontend[]; readonly lost: readonly string[] } {
  const lost: string[] = [];
  const kept = wanted.filter((frontend) => {
    const claim = claimKey(frontend);
    const keeper = taken.has(claim) ? `another port of this ${self}` : keptBy(frontend);
    if (keeper) lost.push(`${frontendLabel(frontend)} is taken: ${keeper} has it`);
    else taken.add(claim);
    return !keeper;
  });
  return { kept, lost };
}

function frontendLabel({ kind, address, port, protocol }: Frontend): string {
  return `${kind} ${formatEndpoint(address, port)}/${protocol}`;
}

/**
 * The objects that request each frontend. Nearly every frontend has a single claimant, which is
 * stored without a list.
 */
export class FrontendClaims<Claimant extends object> {
  readonly #claims = new Map<string, Claimant | Claimant[]>();

  /** Returns all objects that request the frontend. */
  claimants(key: string): readonly Claimant[] {
    const entry = this.#claims.get(key);
    return entry === undefined ? [] : Array.isArray(entry) ? entry : [entry];
  }

  add(key: string, claimant: Claimant): void {
    const others = this.claimants(key);
    this.#claims.set(key, others.length === 0 ? claimant : [...others, claimant]);
  }

  remove(key: string, claimant: Claimant): void {
    const others = this.claimants(key).filter((other) => other !== claimant);
    if (others.length === 0) this.#claims.delete(key);
    else this.#claims.set(key, others.length === 1 ? others[0]! : others);
  }
}
