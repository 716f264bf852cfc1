import type { Platform } from '@heddle/sys';

export type Clock = Pick<Platform, 'monotonicNs' | 'wallTimeMs'>;

/**
 * How long changes wait to come into force: from when the first of them is queued until nothing is
 * left to do. Changes that come in between belong to the same sync.
 */
export class SyncClock {
  readonly #clock: Clock;
  readonly #onDone: (seconds: number) => void;
  #queuedNs: bigint | undefined;
  #lastQueuedMs: number | undefined;
  #lastDoneMs: number | undefined;

  /** Calls `onDone` with the seconds that a sync took. */
  constructor(clock: Clock, onDone: (seconds: number) => void) {
    this.#clock = clock;
    this.#onDone = onDone;
  }

  queued(): void {
    this.#lastQueuedMs = this.#clock.wallTimeMs();
    this.#queuedNs ??= this.#clock.monotonicNs();
  }

  done(): void {
    if (this.#queuedNs === undefined) return;
    const took = this.#clock.monotonicNs() - this.#queuedNs;
    this.#queuedNs = undefined;
    this.#lastDoneMs = this.#clock.wallTimeMs();
    this.#onDone(Number(took) / 1e9);
  }

  /** Milliseconds for which the oldest change that is not in force has waited; 0 when none has. */
  get waitedMs(): number {
    if (this.#queuedNs === undefined) return 0;
    return Number((this.#clock.monotonicNs() - this.#queuedNs) / 1_000_000n);
  }

  /** Wall time in milliseconds since 1970. */
  get lastQueuedMs(): number | undefined {
    return this.#lastQueuedMs;
  }

  get lastDoneMs(): number | undefined {
    return this.#lastDoneMs;
  }
}
