import type { Platform } from '@heddle/sys';
import { type Surroundings, VirtualClock } from '@heddle/vm';

/** The clock of a simulation, which all nodes share. */
export class SimulationClock implements Surroundings {
  readonly #inner = new VirtualClock(1_000_000_000n, 0);
  readonly #startNs = this.#inner.monotonicNs();
  #override: bigint | undefined;

  get nowMs(): number {
    return Number((this.#inner.monotonicNs() - this.#startNs) / 1_000_000n);
  }

  monotonicNs(): bigint {
    return this.#override ?? this.#inner.monotonicNs();
  }

  wallTimeMs(): number {
    return this.#inner.wallTimeMs();
  }

  setTimer(milliseconds: number, fire: () => void): Disposable {
    return this.#inner.setTimer(milliseconds, fire);
  }

  readonly log: Platform['log'] = () => {};

  /** Advances the time to `milliseconds` after the start. */
  advanceTo(milliseconds: number): void {
    const by = milliseconds - this.nowMs;
    if (by > 0) this.#inner.advance(by);
  }

  /**
   * Runs `work` at an earlier time. A node's timers run late, when the node is next used, but at
   * their own time.
   */
  at(ns: bigint, work: () => void): void {
    this.#override = ns;
    try {
      work();
    } finally {
      this.#override = undefined;
    }
  }
}
