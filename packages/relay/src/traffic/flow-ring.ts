import type { RelayFlow } from './model.ts';

/** The latest flows, in the order of their arrival, by numbers that count from 0. */
export class RelayRing {
  readonly capacity: number;
  readonly #flows: (RelayFlow | undefined)[];
  #next = 0;

  constructor(capacity = 65_536) {
    this.capacity = capacity;
    this.#flows = new Array(capacity).fill(undefined);
  }

  /** The number that the next flow gets. */
  get next(): number {
    return this.#next;
  }

  /** The number of the oldest flow that is kept. */
  get oldest(): number {
    return Math.max(0, this.#next - this.capacity);
  }

  add(flow: RelayFlow): void {
    this.#flows[this.#next++ % this.capacity] = flow;
  }

  /** Returns a flow that is kept. */
  at(number: number): RelayFlow {
    return this.#flows[number % this.capacity]!;
  }

  /** Returns the flows from the newest to the oldest, before a number. */
  *before(number: number): Generator<readonly [number, RelayFlow]> {
    for (let at = Math.min(number, this.#next) - 1; at >= this.oldest; at--)
      yield [at, this.at(at)];
  }
}
