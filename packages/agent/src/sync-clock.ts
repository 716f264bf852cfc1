import type { Platform } from '@heddle/sys';

export type Clock = Pick<Platform, 'monotonicNs' | 'wallTimeMs'>;

/**
 * Measures how long changes wait to be programmed: from the first queued one until nothing is left to do. Changes
 * in between belong to the same sync.
 */
export class SyncClock {
  readonly #clock: Clock;
  readonly #onDone: (seconds: number) => void;
  #queuedNs: bigint | undefined;
  #lastQueuedMs: number | undefined;
  #lastDoneMs: number | undefined;

  /** `onDone` is called with the seconds that each sync took. */
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

  /** The milliseconds for which the oldest change that is not programmed has waited; 0 without one. */
  get waitedMs(): number {
    if (this.#queuedNs === undefined) return 0;
    return Number((this.#clock.monotonicNs() - this.#queuedNs) / 1_000_000n);
  }

  /** The time of the last change, in milliseconds since 1970. */
  get lastQueuedMs(): number | undefined {
    return this.#lastQueuedMs;
  }

  /** The time at which all changes were last programmed, in milliseconds since 1970. */
  get lastDoneMs(): number | undefined {
    return this.#lastDoneMs;
  }
}
