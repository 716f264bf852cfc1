import type { VmMap } from './maps/map.ts';
import type { Program } from './program.ts';

interface Timer {
  readonly region: number;
  readonly map: VmMap;
  program?: Program;
  slot: number;
  /** Nanoseconds of the machine's clock; undefined while it is not started. */
  due?: bigint;
}

/** The function of a timer. */
export type FireTimer = (program: Program, slot: number, map: VmMap, region: number) => void;

/** The timers of programs in values of maps (struct bpf_timer). */
export class Timers {
  readonly #timers = new Map<string, Timer>();
  readonly #onStart: (due: bigint) => void;

  /** `onStart` is called with the time at which the next timer may be due. */
  constructor(onStart: (due: bigint) => void) {
    this.#onStart = onStart;
  }

  /** Returns false if the timer is initialized already. */
  init(region: number, offset: number, map: VmMap): boolean {
    const key = `${region}/${offset}`;
    if (this.#timers.has(key)) return false;
    this.#timers.set(key, { region, map, slot: 0 });
    return true;
  }

  setCallback(region: number, offset: number, program: Program, slot: number): boolean {
    const timer = this.#timers.get(`${region}/${offset}`);
    if (!timer) return false;
    // It may run when nothing else refers to the program.
    program.object?.retain();
    timer.program?.object?.release();
    timer.program = program;
    timer.slot = slot;
    return true;
  }

  start(region: number, offset: number, due: bigint): boolean {
    const timer = this.#timers.get(`${region}/${offset}`);
    if (!timer?.program) return false;
    timer.due = due;
    this.#onStart(due);
    return true;
  }

  /** Cancels a timer. Returns whether it was started; undefined when there is no such timer. */
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
  run(now: bigint, fire: FireTimer): void {
    for (let due = this.next; due !== undefined && due <= now; due = this.next) {
      for (const timer of this.#timers.values()) {
        if (timer.due !== due || !timer.program) continue;
        timer.due = undefined;
        fire(timer.program, timer.slot, timer.map, timer.region);
      }
    }
  }

  /** Cancels the timers of a map. */
  forget(map: VmMap): void {
    for (const [key, timer] of this.#timers) {
      if (timer.map !== map) continue;
      this.#timers.delete(key);
      timer.program?.object?.release();
    }
  }
}
