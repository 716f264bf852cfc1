/** A map with timers in its values. */
export interface TimerMap {
  readonly region: number;
  readonly options: { readonly keySize: number };
}

/** The callback of a timer: it runs a function of a program. */
export type TimerCallback = (map: TimerMap, region: number) => void;

/** A reference that keeps a program loaded. */
export interface ProgramReference {
  retain(): unknown;
  release(): void;
}

interface Timer {
  readonly region: number;
  readonly map: TimerMap;
  callback?: TimerCallback;
  /** Keeps the program of `callback` loaded. */
  reference?: ProgramReference | undefined;
  /** Nanoseconds of the machine's clock; undefined while it is not started. */
  due?: bigint;
}

/** The timers of programs in values of maps (struct bpf_timer). */
export class Timers {
  readonly #timers = new Map<string, Timer>();
  readonly #onStart: (due: bigint) => void;

  /** `onStart` is called with the time at which the next timer may be due. */
  constructor(onStart: (due: bigint) => void) {
    this.#onStart = onStart;
  }

  /** Returns false if the timer is initialized already. */
  init(region: number, offset: number, map: TimerMap): boolean {
    const key = `${region}/${offset}`;
    if (this.#timers.has(key)) return false;
    this.#timers.set(key, { region, map });
    return true;
  }

  /** Sets the callback of a timer. Returns false when there is no such timer. */
  setCallback(
    region: number,
    offset: number,
    callback: TimerCallback,
    reference: ProgramReference | undefined,
  ): boolean {
    const timer = this.#timers.get(`${region}/${offset}`);
    if (!timer) return false;
    // It may run when nothing else refers to the program.
    reference?.retain();
    timer.reference?.release();
    timer.reference = reference;
    timer.callback = callback;
    return true;
  }

  start(region: number, offset: number, due: bigint): boolean {
    const timer = this.#timers.get(`${region}/${offset}`);
    if (!timer?.callback) return false;
    timer.due = due;
    this.#onStart(due);
    return true;
  }

  /** Cancels a timer. Returns whether it was started, or undefined when there is no such timer. */
  cancel(region: number, offset: number): boolean | undefined {
    const timer = this.#timers.get(`${region}/${offset}`);
    if (!timer) return undefined;
    const was = timer.due !== undefined;
    timer.due = undefined;
    return was;
  }

  /** The time at which the next timer is due. */
  get next(): bigint | undefined {
    let next: bigint | undefined;
    for (const { due } of this.#timers.values()) {
      if (due !== undefined && (next === undefined || due < next)) next = due;
    }
    return next;
  }

  /** Runs the timers that are due at `now`, the earliest first, also those that a timer starts again. */
  run(now: bigint): void {
    for (let due = this.next; due !== undefined && due <= now; due = this.next) {
      for (const timer of this.#timers.values()) {
        if (timer.due !== due || !timer.callback) continue;
        timer.due = undefined;
        timer.callback(timer.map, timer.region);
      }
    }
  }

  /** Cancels the timers of a map. */
  forget(map: TimerMap): void {
    for (const [key, timer] of this.#timers) {
      if (timer.map !== map) continue;
      this.#timers.delete(key);
      timer.reference?.release();
    }
  }
}
