import type { LogFields, LogLevel, Platform } from '@heddle/sys';

/** The parts of a Platform that a simulated host takes from its surroundings. */
export type Surroundings = Pick<Platform, 'setTimer' | 'monotonicNs' | 'wallTimeMs' | 'log'>;

interface Timer {
  readonly due: bigint;
  readonly fire: () => void;
}

const nsPerMs = 1_000_000n;

/** A clock that only advances on request, so that a simulation is the same each time. */
export class VirtualClock implements Surroundings {
  #now: bigint;
  readonly #wallStartMs: number;
  readonly #startNs: bigint;
  readonly #timers = new Set<Timer>();
  readonly #log: (level: LogLevel, message: string, fields?: LogFields) => void;

  /** `startNs` is the time of the monotonic clock, `wallMs` that since 1970. */
  constructor(startNs = 1_000_000_000n, wallMs = 0, log: Platform['log'] = () => {}) {
    this.#now = startNs;
    this.#startNs = startNs;
    this.#wallStartMs = wallMs;
    this.#log = log;
  }

  monotonicNs(): bigint {
    return this.#now;
  }

  wallTimeMs(): number {
    return this.#wallStartMs + Number((this.#now - this.#startNs) / nsPerMs);
  }

  setTimer(milliseconds: number, fire: () => void): Disposable {
    const timer: Timer = { due: this.#now + BigInt(Math.ceil(milliseconds)) * nsPerMs, fire };
    this.#timers.add(timer);
    return { [Symbol.dispose]: () => this.#timers.delete(timer) };
  }

  log(level: LogLevel, message: string, fields?: LogFields): void {
    this.#log(level, message, fields);
  }

  /** Advances the clock. Timers fire when they are due, the earliest first, those of one time in order. */
  advance(milliseconds: number): void {
    const end = this.#now + BigInt(Math.ceil(milliseconds)) * nsPerMs;
    for (let next = this.#next(end); next; next = this.#next(end)) {
      this.#timers.delete(next);
      if (next.due > this.#now) this.#now = next.due;
      next.fire();
    }
    this.#now = end;
  }

  #next(end: bigint): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.due <= end && (!next || timer.due < next.due)) next = timer;
    }
    return next;
  }
}
