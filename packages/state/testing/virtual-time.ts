import type { ReconcilerPort } from '../src/reconciler.ts';

interface Timer {
  readonly dueMs: number;
  readonly fire: () => void;
}

/** A clock that moves only by `pass`, with its timers. Random bytes are zero. */
export class VirtualTime implements ReconcilerPort {
  #nowMs = 1_000_000;
  readonly #timers = new Set<Timer>();

  wallTimeMs(): number {
    return this.#nowMs;
  }

  monotonicNs(): bigint {
    return BigInt(this.#nowMs) * 1_000_000n;
  }

  randomBytes(length: number): Uint8Array {
    return new Uint8Array(length);
  }

  setTimer(milliseconds: number, fire: () => void): Disposable {
    const timer = { dueMs: this.#nowMs + milliseconds, fire };
    this.#timers.add(timer);
    return { [Symbol.dispose]: () => void this.#timers.delete(timer) };
  }

  get timersLeft(): number {
    return this.#timers.size;
  }

  /** Advances the clock; timers fire in order, each at its own time. */
  pass(milliseconds: number): void {
    const endMs = this.#nowMs + milliseconds;
    for (;;) {
      let next: Timer | undefined;
      for (const timer of this.#timers) {
        if (timer.dueMs <= endMs && (!next || timer.dueMs < next.dueMs)) next = timer;
      }
      if (!next) break;
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.fire();
    }
    this.#nowMs = endMs;
  }
}
