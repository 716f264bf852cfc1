import type { Flow } from '../generated/flow/flow_pb.js';
import { type FlowNode, flowMessage, flowUuids } from './message.ts';
import type { FlowRing, Loss } from './ring.ts';

/**
 * Flows that are kept, by numbers that count from 0. The methods take the number of an entry that is
 * kept: from `oldest` to `next` - 1.
 */
export interface FlowSource {
  readonly oldest: number;
  /** The number that the next entry gets. */
  readonly next: number;
  /** Returns the time of an entry in milliseconds since 1970. */
  timeAt(number: number): number;
  /** Returns the gap, if the entry is one. */
  lossAt(number: number): Loss | undefined;
  /** Returns the flow of an entry that is no gap. */
  flowAt(number: number): Flow;
  /** Resolves when an entry is added, or when `signal` aborts. */
  changed(signal: AbortSignal): Promise<void>;
}

/** The flows of a node's ring as messages. */
export class RingSource implements FlowSource {
  readonly #ring: FlowRing;
  readonly #node: FlowNode;
  readonly #uuidOf: (number: number) => string;

  constructor(ring: FlowRing, node: FlowNode) {
    this.#ring = ring;
    this.#node = node;
    this.#uuidOf = flowUuids(ring.run);
  }

  get oldest(): number {
    return this.#ring.oldest;
  }

  get next(): number {
    return this.#ring.next;
  }

  timeAt(number: number): number {
    return this.#ring.timeAt(number);
  }

  lossAt(number: number): Loss | undefined {
    return this.#ring.lossAt(number);
  }

  flowAt(number: number): Flow {
    return flowMessage(this.#ring.flowAt(number), this.#node, this.#uuidOf(number));
  }

  changed(signal: AbortSignal): Promise<void> {
    return this.#ring.changed(signal);
  }
}
