import type { VmMap } from './maps/map.ts';
import type { Program } from './program.ts';

interface Timer {
  readonly region: number;
  readonly map: VmMap;
  program?: Program;
  slot: number;
  /** Nanoseconds of the machine's clock; undefined while it isn't started. */
  due?: bigint;
}

/** What runs when a timer is due. */
export type FireTimer = (program: Program, slot: number, map: VmMap, region: number) => void;

/** The timers that programs have in values of maps (struct bpf_timer). */
export class Timers {
  readonly #timers = new Map<string, Timer>();
  readonly #onStart: (due: bigint) => void;

  /** `onStart` hears when the next timer may be due. */
  constructor(onStart: (due: bigint) => void) {
    this.#onStart = onStart;
  }

  /** False when it was done before. */
  init(region: number, offset: number, map: VmMap): boolean {
    const key = `${region}/${offset}`;
    if (this.#timers.has(key)) return false;
    this.#timers.set(key, { region, map, slot: 0 });
    return true;
  }

  setCallback(region: number, offset: number, program: Program, slot: number): boolean {
    const timer = this.#timers.get(`${region}/${offset}`);
    if (!timer) return false;
    // It may run when nobody else knows the program any more.
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

  /** Whether it was started; undefined when there is no such timer. */
  cancel(region: number, offset: number): boolean | undefined {
    const timer = this.#timers.get(`${region}/${offset}`);
    if (!timer) return undefined;
    const was = timer.due !== undefined;
    timer.due = undefined;
    return was;
  }

  /** The next point in time at which a timer is due. */
  get next(): bigint | undefined {
    let next: bigint | undefined;
    for (const { due } of this.#timers.values()) {
      if (due !== undefined && (next === undefined || due < next)) next = due;
    }
    return next;
  }

  /** Runs what is due by `now`, the earliest first; what a timer starts anew may be due as well. */
  run(now: bigint, fire: FireTimer): void {
    for (let due = this.next; due !== undefined && due <= now; due = this.next) {
      for (const timer of this.#timers.values()) {
        if (timer.due !== due || !timer.program) continue;
        timer.due = undefined;
        fire(timer.program, timer.slot, timer.map, timer.region);
      }
    }
  }

  /** The map goes, and its timers with it. */
  forget(map: VmMap): void {
    for (const [key, timer] of this.#timers) {
      if (timer.map !== map) continue;
      this.#timers.delete(key);
      timer.program?.object?.release();
    }
  }
}
