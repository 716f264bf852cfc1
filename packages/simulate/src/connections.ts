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

/** The result of an attempt: the backend (address and port as text), or why there is none. */
export type Answer =
  | { readonly backend: string }
  | { readonly failed: 'refused' | 'reset' | 'no answer' };

/** A client's conversation with a service. */
export interface Connection {
  /** The backend that it is with; undefined: none. */
  backend: string | undefined;
  /** Begins anew. */
  dial(): Answer;
  /** Goes on, with one packet. */
  check(): Answer;
  close(): void;
  /** The backend's pod is gone. */
  readonly isBackendGone: boolean;
  /** The client is gone, or the node that knows the connection is. */
  readonly isClientGone: boolean;
  readonly isPathGone: boolean;
}

const noAnswer: Answer = { failed: 'no answer' };
const refused: Answer = { failed: 'refused' };
const reset: Answer = { failed: 'reset' };

/** TCP connections that pods know, by pod: what else comes in for them is answered by a reset. */
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

/** Name of a backend: where a packet came to at a pod. */
export function backendKey(address: string, port: number): string {
  return address + String.fromCharCode(port);
}

/** Node that a packet of a connection enters by; undefined: none is up. */
export type Entry = (tuple: Tuple) => SimulatedNode | undefined;

/** Where the numbers of a TCP connection begin; each one begins above those before (RFC 6191). */
const firstNumber = 1000;
const betweenConnections = 1 << 20;
let connectionsBegun = 0;

/** From an external client: packets through the nodes' network interfaces. */
export class OutsideConnection implements Connection {
  backend: string | undefined;
  readonly #network: Network;
  readonly #sockets: PodSockets;
  readonly #entry: Entry;
  readonly #isIpv4: boolean;
  /** The destination of the client's packets; absent when the service has no address, because all nodes are down. */
  readonly #tuple: () => Tuple | undefined;
  #current: Tuple | undefined;
  #last: SimulatedNode | undefined;
  /** The numbers that the client's next segment has; the backend has the same the other way round. */
  #numbers: Numbers = { sequence: 0, acknowledgement: 0 };

  constructor(
    network: Network,
    sockets: PodSockets,
    entry: Entry,
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

  dial(): Answer {
    this.#current = this.#tuple();
    const first = (firstNumber + connectionsBegun++ * betweenConnections) >>> 0;
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

  /** Sends a packet and takes the answer; a handshake is finished, and so is an end. */
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
    const heard = this.#heard(back, tuple);
    if (!heard) return noAnswer;
    if (isTcp && heard.flags & RST) return flags === SYN ? refused : reset;
    this.#numbers = after(numbers, answer);
    if (isTcp && flags === SYN) {
      const last = this.#send(tuple, ACK);
      if (last.at !== 'pod' || last.pod !== pod) return noAnswer;
      this.#sockets.begin(pod, readFrame(last.frame)!);
      // The backend's acknowledgement of data is what shows that it has taken the connection.
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

  /** The numbers that the backend's next segment has when it has got the client's with these flags. */
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

  /** Returns the reply, if it comes from the address that the client sent to. */
  #heard(arrival: Arrival, tuple: Tuple): Segment | undefined {
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

/** The numbers that the client's next segment has when it has got the backend's with these numbers and flags. */
function after({ sequence, acknowledgement }: Numbers, flags: number): Numbers {
  const length = flags & (SYN | FIN) ? 1 : 0;
  return { sequence: acknowledgement, acknowledgement: (sequence + length) >>> 0 };
}

/** From a pod or a node itself: sockets whose calls the programs change. */
export class InsideConnection implements Connection {
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

  dial(): Answer {
    this.close();
    this.#socket = this.#node.class.makeSocket(this.#cookie, this.#isIpv4 ? 4 : 6, this.#protocol);
    const answer = this.#call(this.#socket);
    this.backend = 'backend' in answer ? answer.backend : undefined;
    return answer;
  }

  /** A connected TCP socket is translated no more; a datagram is, each time. */
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
