import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import type { FlowNode } from '../flows/message.ts';
import type { FlowRecord } from '../flows/record.ts';
import { FlowRing, type Loss } from '../flows/ring.ts';
import { RingSource } from '../flows/source.ts';
import type { Observer } from '../generated/observer/observer_pb.js';
import { NodeState } from '../generated/relay/relay_pb.js';
import { NamespacesSeen } from './namespaces.ts';
import { readFlows } from './read-flows.ts';

/** The properties of an observer. */
export interface ObserverOptions {
  readonly node: FlowNode;
  readonly version: string;
  /** HOST:PORT at which relays reach the observer; empty if they do not. */
  readonly address?: string;
  /** The name in the observer's certificate, if it has TLS. */
  readonly tlsServerName?: string | undefined;
  /** The most flows that are kept. */
  readonly capacity?: number;
  /** Returns the time in milliseconds since 1970. */
  readonly now?: () => number;
}

/** The flows of one node, and the service by which clients get them. */
export class FlowObserver {
  readonly ring: FlowRing;
  readonly #options: ObserverOptions;
  readonly #now: () => number;
  readonly #started: number;
  readonly #namespaces = new NamespacesSeen();

  constructor(options: ObserverOptions) {
    this.ring = new FlowRing(options.capacity);
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#started = this.#now();
  }

  /** Adds a flow. */
  add(record: FlowRecord): void {
    this.ring.append(record);
    this.#namespaces.note(record.sourceParty.endpoint, record.time);
    this.#namespaces.note(record.destinationParty.endpoint, record.time);
  }

  /** Adds a gap: observations that did not reach this process. */
  lose(loss: Loss): void {
    this.ring.appendLoss(loss);
  }

  /** Returns the implementation of the service. */
  service(): ServiceImpl<typeof Observer> {
    const { node, version, address = '', tlsServerName } = this.#options;
    const flows = new RingSource(this.ring, node);
    return {
      getFlows: (request, { signal }) => readFlows(flows, node.name, request, signal),
      getNodes: () => ({
        nodes: [
          {
            ...{ name: node.name, version, address, state: NodeState.NODE_CONNECTED },
            tls: { enabled: tlsServerName !== undefined, serverName: tlsServerName ?? '' },
            ...this.#counts(),
          },
        ],
      }),
      getNamespaces: () => ({ namespaces: this.#namespaces.list(this.#now()) }),
      serverStatus: () => ({ ...this.#counts(), version, flowsRate: this.#rate() }),
      // biome-ignore lint/correctness/useYield: the call fails before there is anything to return.
      async *getAgentEvents() {
        throw unimplemented('agent events');
      },
      // biome-ignore lint/correctness/useYield: the call fails before there is anything to return.
      async *getDebugEvents() {
        throw unimplemented('debug events');
      },
    };
  }

  #counts() {
    return {
      numFlows: BigInt(this.ring.flows),
      maxFlows: BigInt(this.ring.capacity),
      seenFlows: BigInt(this.ring.seen),
      uptimeNs: BigInt(Math.max(0, Math.round((this.#now() - this.#started) * 1e6))),
    };
  }

  /** Returns the flows per second over the last minute, or over what is kept if that is less. */
  #rate(): number {
    const now = this.#now();
    const begin = Math.max(now - 60_000, this.#started);
    let [low, high] = [this.ring.oldest, this.ring.next];
    // Entries are nearly in the order of their times, which is exact enough here.
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.ring.timeAt(middle) < begin) low = middle + 1;
      else high = middle;
    }
    const count = this.ring.next - low;
    if (count === 0) return 0;
    const isAll = low === this.ring.oldest && this.ring.oldest > 0;
    const from = isAll ? this.ring.timeAt(low) : begin;
    return count / Math.max(1, (now - from) / 1000);
  }
}

function unimplemented(what: string): ConnectError {
  return new ConnectError(
    `Heddle reports no ${what}; use GetFlows, or \`heddle status\` for the state of the agent`,
    Code.Unimplemented,
  );
}
