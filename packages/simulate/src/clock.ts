import type { Platform } from '@heddle/sys';
import { type Surroundings, VirtualClock } from '@heddle/vm';

/** The time of a simulation, by which all its nodes go. */
export class SimulationClock implements Surroundings {
  readonly #inner = new VirtualClock(1_000_000_000n, 0);
  readonly #startNs = this.#inner.monotonicNs();
  #shown: bigint | undefined;

  get nowMs(): number {
    return Number((this.#inner.monotonicNs() - this.#startNs) / 1_000_000n);
  }

  monotonicNs(): bigint {
    return this.#shown ?? this.#inner.monotonicNs();
  }

  wallTimeMs(): number {
    return this.#inner.wallTimeMs();
  }

  setTimer(milliseconds: number, fire: () => void): Disposable {
    return this.#inner.setTimer(milliseconds, fire);
  }

  readonly log: Platform['log'] = () => {};

  /** Lets time pass until so many milliseconds after the start. */
  advanceTo(milliseconds: number): void {
    const by = milliseconds - this.nowMs;
    if (by > 0) this.#inner.advance(by);
  }

  /** Shows an earlier time while `work` runs: what a node was to do then is done when it is looked at. */
  at(ns: bigint, work: () => void): void {
    this.#shown = ns;
    try {
      work();
    } finally {
      this.#shown = undefined;
    }
  }
}
