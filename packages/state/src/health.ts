import type { Platform } from '@heddle/sys';

/** What one part of the agent says of itself. */
export interface HealthFact {
  /** For example `manifests`, `rows`, `links`. */
  readonly part: string;
  readonly healthy: boolean;
  /** In words: `5000 rows in force`, `3 rows failed`. */
  readonly message: string;
  /** Since when the part is (un)healthy, in milliseconds since 1970 UTC. */
  readonly since: number;
}

/** Collects what the parts say; the agent is healthy when all are. */
export class Health {
  readonly #facts = new Map<string, HealthFact>();
  readonly #clock: Pick<Platform, 'wallTimeMs'>;

  constructor(clock: Pick<Platform, 'wallTimeMs'>) {
    this.#clock = clock;
  }

  report(part: string, healthy: boolean, message: string): void {
    const before = this.#facts.get(part);
    const since = before?.healthy === healthy ? before.since : this.#clock.wallTimeMs();
    this.#facts.set(part, { part, healthy, message, since });
  }

  get healthy(): boolean {
    for (const fact of this.#facts.values()) if (!fact.healthy) return false;
    return true;
  }

  /** What the parts say, in the order in which they first spoke. */
  facts(): readonly HealthFact[] {
    return [...this.#facts.values()];
  }
}
