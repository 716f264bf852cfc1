import type { SocketHandle } from '@heddle/vm';
import { keyOf, sameBytes } from './addresses.ts';
import {
  ACK,
  buildFrame,
  FIN,
  inverse,
  type Numbers,
  PSH,
  RST,
  readFrame,
  type Segment,
  SYN,
  TCP,
  type Tuple,
} from './frames.ts';
import type { Arrival, Network } from './network.ts';
import type { SimulatedNode } from './node-class.ts';

/** The result of an attempt: the backend (address and port as text), or the kind of failure. */
export type Answer =
  | { readonly backend: string }
  | { readonly failed: 'refused' | 'reset' | 'no answer' };

/** A client's connection to a service. */
export interface Connection {
  /** The present backend, or undefined. */
  backend: string | undefined;
  /** Connects, again if it was connected. */
  connect(): Answer;
  /** Sends a packet on the connection and waits for the reply. */
  check(): Answer;
  close(): void;
  /** True if the backend's pod no longer exists. */
  readonly isBackendGone: boolean;
  /** True if the client's node is down. */
  readonly isClientGone: boolean;
  /** True if the node with the state of the connection is down. */
  /** True if the node with the state of the connection is down. */
  /** True if the node with the state of the connection is down. */
  readonly isPathGone: boolean;
}

const noAnswer: Answer = { failed: 'no answer' };
const refused: Answer = { failed: 'refused' };
const reset: Answer = { failed: 'reset' };

/** The TCP connections of each pod. A pod replies to segments of other connections with a reset. */
export class PodSockets {
  readonly #known = new Map<string, Set<string>>();

  begin(pod: string, segment: Segment): void {
    const known = this.#known.get(pod);
    if (known) known.add(connectionKey(segment));
    else this.#known.set(pod, new Set([connectionKey(segment)]));
  }

  has(pod: string, segment: Segment): boolean {
    return this.#known.get(pod)?.has(connectionKey(segment)) ?? false;
  }

  end(pod: string, segment: Segment): void {
    this.#known.get(pod)?.delete(connectionKey(segment));
  }

  forget(pod: string): void {
    this.#known.delete(pod);
  }
}

function connectionKey({ source, sourcePort, destinationPort }: Tuple): string {
  return keyOf(source) + String.fromCharCode(sourcePort, destinationPort);
}

/** Returns the key of a backend: a pod's address and port. */
export function backendKey(address: string, port: number): string {
  return address + String.fromCharCode(port);
}

/** Returns the node that a connection's packets enter, or undefined if no node is up. */
export type ChooseEntry = (tuple: Tuple) => SimulatedNode | undefined;

/**
 * The initial sequence number of the first TCP connection. Later ones start above all earlier ones
 * (RFC 6191).
 */
const firstNumber = 1000;
const numbersPerConnection = 1 << 20;
let connectionsBegun = 0;

/** A connection of an external client: packets through the nodes' network interfaces. */
export class ExternalConnection implements Connection {
  backend: string | undefined;
  readonly #network: Network;
  readonly #sockets: PodSockets;
  readonly #entry: ChooseEntry;
  readonly #isIpv4: boolean;
  /**
   * Returns the tuple of the client's packets, or undefined if the service has no address because
   * all nodes are down.
   */
  readonly #tuple: () => Tuple | undefined;
  #current: Tuple | undefined;
  #last: SimulatedNode | undefined;
  /** The numbers of the client's next segment; the backend has the same ones reversed. */
  #numbers: Numbers = { sequence: 0, acknowledgement: 0 };

  constructor(
    network: Network,
    sockets: PodSockets,
    entry: ChooseEntry,
    isIpv4: boolean,
    tuple: () => Tuple | undefined,
  ) {
    this.#network = network;
    this.#sockets = sockets;
    this.#entry = entry;
    this.#isIpv4 = isIpv4;
    this.#tuple = tuple;
  }

  get isBackendGone(): boolean {
    return this.backend !== undefined && !this.#network.isServing(this.backend.slice(0, 16));
  }

  get isClientGone(): boolean {
    return false;
  }

  get isPathGone(): boolean {
    return this.#last?.isUp === false;
  }

  connect(): Answer {
    this.#current = this.#tuple();
    const first = (firstNumber + connectionsBegun++ * numbersPerConnection) >>> 0;
    this.#numbers = { sequence: first, acknowledgement: first };
    const answer = this.#current ? this.#exchange(SYN) : noAnswer;
    this.backend = 'backend' in answer ? answer.backend : undefined;
    return answer;
  }

  check(): Answer {
    return this.#exchange(PSH | ACK);
  }

  close(): void {
    if (this.#current?.protocol !== TCP || this.backend === undefined) return;
    this.#exchange(FIN | ACK);
    this.backend = undefined;
  }

  /** Sends a packet and returns the result. A SYN completes the handshake, a FIN the close. */
  #exchange(flags: number): Answer {
    const tuple = this.#current!;
    const there = this.#send(tuple, flags);
    if (there.at !== 'pod') return this.#refusal(there, tuple);
    const segment = readFrame(there.frame)!;
    const { pod, node } = there;
    const isTcp = tuple.protocol === TCP;
    const isKnown = !isTcp || flags === SYN || this.#sockets.has(pod, segment);
    const answer = !isKnown ? RST : flags === SYN ? SYN | ACK : flags & FIN ? FIN | ACK : ACK;
    const numbers = this.#numbersOf(flags);
    const back = this.#network.leave(
      buildFrame(inverse(segment), this.#isIpv4, answer, numbers),
      node,
    );
    const reply = this.#replyIn(back, tuple);
    if (!reply) return noAnswer;
    if (isTcp && reply.flags & RST) return flags === SYN ? refused : reset;
    this.#numbers = after(numbers, answer);
    if (isTcp && flags === SYN) {
      const last = this.#send(tuple, ACK);
      if (last.at !== 'pod' || last.pod !== pod) return noAnswer;
      this.#sockets.begin(pod, readFrame(last.frame)!);
      // Only an acknowledgement of data shows that the backend has accepted the connection.
      return this.#exchange(PSH | ACK);
    } else if (flags & FIN) {
      this.#send(tuple, ACK);
      this.#sockets.end(pod, segment);
    }
    return { backend: backendKey(pod, segment.destinationPort) };
  }

  #send(tuple: Tuple, flags: number): Arrival {
    const entry = this.#entry(tuple);
    this.#last = entry;
    if (!entry) return { at: 'nowhere' };
    return this.#network.enter(buildFrame(tuple, this.#isIpv4, flags, this.#numbers), entry);
  }

  /**
   * Returns the numbers of the backend's next segment after it has received the client's with these
   * flags.
   */
  #numbersOf(flags: number): Numbers {
    const { sequence, acknowledgement } = this.#numbers;
    const length = flags & (SYN | FIN | PSH) ? 1 : 0;
    return { sequence: acknowledgement, acknowledgement: (sequence + length) >>> 0 };
  }

  #refusal(arrival: Arrival, tuple: Tuple): Answer {
    if (arrival.at !== 'outside') return noAnswer;
    const segment = readFrame(arrival.frame);
    if (!segment || !sameBytes(segment.destination, tuple.source)) return noAnswer;
    return segment.isError || segment.flags & RST ? refused : noAnswer;
  }

  /** Returns the reply, if its tuple is the inverse of the client's. */
  #replyIn(arrival: Arrival, tuple: Tuple): Segment | undefined {
    const segment = arrival.at === 'outside' ? readFrame(arrival.frame) : undefined;
    if (!segment) return undefined;
    const back = inverse(tuple);
    const fits =
      segment.sourcePort === back.sourcePort &&
      segment.destinationPort === back.destinationPort &&
      sameBytes(segment.source, back.source) &&
      sameBytes(segment.destination, back.destination);
    return fits ? segment : undefined;
  }
}

/**
 * Returns the numbers of the client's next segment after it has received the backend's with these
 * numbers and flags.
 */
function after({ sequence, acknowledgement }: Numbers, flags: number): Numbers {
  const length = flags & (SYN | FIN) ? 1 : 0;
  return { sequence: acknowledgement, acknowledgement: (sequence + length) >>> 0 };
}

/** A connection of a pod or node: a socket whose calls the programs translate. */
export class SocketConnection implements Connection {
  backend: string | undefined;
  readonly #network: Network;
  readonly #node: SimulatedNode;
  readonly #cookie: bigint;
  readonly #protocol: 6 | 17;
  readonly #address: string;
  readonly #port: number;
  readonly #isIpv4: boolean;
  #socket: SocketHandle | undefined;

  constructor(
    network: Network,
    node: SimulatedNode,
    cookie: bigint,
    to: {
      readonly protocol: number;
      readonly address: string;
      readonly port: number;
      readonly isIpv4: boolean;
    },
  ) {
    this.#network = network;
    this.#node = node;
    this.#cookie = cookie;
    this.#protocol = to.protocol === TCP ? 6 : 17;
    this.#address = to.address;
    this.#port = to.port;
    this.#isIpv4 = to.isIpv4;
  }

  get isBackendGone(): boolean {
    return this.backend !== undefined && !this.#network.isServing(this.backend.slice(0, 16));
  }

  get isClientGone(): boolean {
    return !this.#node.isUp;
  }

  get isPathGone(): boolean {
    return false;
  }

  connect(): Answer {
    this.close();
    this.#socket = this.#node.class.makeSocket(this.#cookie, this.#isIpv4 ? 4 : 6, this.#protocol);
    const answer = this.#call(this.#socket);
    this.backend = 'backend' in answer ? answer.backend : undefined;
    return answer;
  }

  /** A connected TCP socket isn't translated again; each datagram is. */
  check(): Answer {
    if (this.#protocol !== TCP) return this.#socket ? this.#call(this.#socket) : noAnswer;
    return this.backend === undefined || this.isBackendGone ? noAnswer : { backend: this.backend };
  }

  close(): void {
    if (!this.#socket) return;
    this.#node.class.closeSocket(this.#node, this.#socket);
    this.#socket = undefined;
    this.backend = undefined;
  }

  #call(socket: SocketHandle): Answer {
    const to = this.#node.class.call(this.#node, socket, this.#address, this.#port);
    if (typeof to === 'number') return refused;
    if (!this.#network.isServing(to.address)) return noAnswer;
    return { backend: backendKey(to.address, to.port) };
  }
}
