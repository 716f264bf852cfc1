/**
 * A model of UDP sockets in a network without Heddle, where each service is a host that answers from its own
 * address. Names stand for destinations; see socket-call-tests.ts.
 */

/** A service, an address of one, or a pod: what calls are made to. */
export const destinations = [
  'alpha', // a service with two backends
  'beta', // another one, in the same pods at another port
  'shared', // a service with one backend
  'direct', // that backend's own address
  'empty', // a service without backends
  'unknown', // a port that the service alpha has not
  'failing', // a service at which every connect() fails in the kernel
] as const;
export type Destination = (typeof destinations)[number];

/** The destinations that get datagrams and answer. */
export const answering = ['alpha', 'beta', 'shared', 'direct'] as const;
export type Answering = (typeof answering)[number];

const isAnswering = (to: Destination): to is Answering => answering.includes(to as Answering);
/** Returns true for two names of one backend. Replies to both are the same, so only their order distinguishes them. */
const isShared = (to: Destination) => to === 'shared' || to === 'direct';

export interface Reply {
  readonly from: Destination;
  readonly text: string;
}

/** The model of a socket. */
export class SocketModel {
  peer: Destination | undefined;
  /** After a disconnection: the last peer, and its backend as far as it was seen. */
  #last: { readonly peer: Destination; readonly backend: string | undefined } | undefined;
  readonly queue: Reply[] = [];
  /** The backend that the connection, or the flow to a destination, was seen to have. */
  #connected: string | undefined;
  readonly #flows = new Map<Answering, string>();

  /** Returns the outcome of connect(). `failure` is the kernel's error if the call fails without Heddle. */
  connect(to: Destination, failure: string): string {
    if (to === 'failing') return failure;
    // A network without Heddle accepts it; Heddle does so at an unknown port for a socket that is not connected, as
    // resolvers have. A service without backends is refused at once, since no hook sees what is sent to it.
    if (to === 'empty') return 'ECONNREFUSED';
    if (!isAnswering(to) && this.peer !== undefined) return 'ECONNREFUSED';
    this.peer = to;
    this.#last = undefined;
    this.#connected = undefined;
    // The backend of an earlier connection may be used for what is sent unconnected.
    this.#flows.clear();
    return 'ok';
  }

  disconnect(): void {
    if (this.peer) this.#last = { peer: this.peer, backend: this.#connected };
    this.peer = undefined;
    this.#connected = undefined;
    this.#flows.clear();
  }

  /** Returns the outcome of a send, to the peer if there is no destination. */
  send(to: Destination | undefined): string {
    const goal = to ?? this.peer;
    if (goal === undefined) return 'EDESTADDRREQ';
    return isAnswering(goal) ? 'ok' : 'ECONNREFUSED';
  }

  /** Returns what is wrong with the backend that got a datagram, or nothing. */
  arrived(to: Answering, backend: string): string | undefined {
    const known = to === this.peer ? this.#connected : this.#flows.get(to);
    if (to === this.peer) this.#connected = backend;
    else this.#flows.set(to, backend);
    if (known === undefined || known === backend) return undefined;
    return `${to} changed from ${known} to ${backend}`;
  }

  /** A destination answers: a connected socket gets replies of its peer only. */
  answer(reply: Reply): void {
    if (this.peer === undefined || this.peer === reply.from) this.queue.push(reply);
    // The kernel knows the backend only: what it sends is its answer as the peer.
    else if (isShared(this.peer) && isShared(reply.from))
      this.queue.push({ from: this.peer, text: reply.text });
  }

  /**
   * True when the kernel goes on to filter by a peer that the socket no longer has: udp_disconnect leaves an IPv6
   * socket's sk_v6_daddr as it was, and the lookup of a datagram's receiver compares it.
   */
  isDeafIpv6(backend: string): boolean {
    return this.#last !== undefined && this.#last.backend !== backend;
  }

  /** Returns true when the replies that wait would be ambiguous after a call about `to`. */
  mustReadBefore(to: Destination | undefined): boolean {
    return this.queue.some(({ from }) => isShared(from) && from !== to);
  }
}
