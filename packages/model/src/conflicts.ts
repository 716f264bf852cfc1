import { ownText } from './memory.ts';
import type { ServiceRecord } from './records.ts';
import type { Frontend } from './rows.ts';

/** What two services can't both have: `TCP 10.0.0.1 80`. */
export function claimKey(frontend: Frontend): string {
  return ownText(`${frontend.protocol} ${frontend.address} ${frontend.port}`);
}

/**
 * Order in which services get a frontend that several ask for: the older by creationTimestamp
 * (one without a timestamp comes last), then by namespace and name. Negative when `a` is first.
 */
export function bySeniority(a: ServiceRecord, b: ServiceRecord): number {
  if (a.createdMs !== b.createdMs) return a.createdMs < b.createdMs ? -1 : 1;
  if (a.namespace !== b.namespace) return a.namespace < b.namespace ? -1 : 1;
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

/** Who asks for which frontend. Nearly every one has one claimant, which is kept without a list. */
export class FrontendClaims<Claimant extends object> {
  readonly #claims = new Map<string, Claimant | Claimant[]>();

  /** All who ask for the frontend. */
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
