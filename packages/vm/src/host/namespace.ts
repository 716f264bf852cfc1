import type { SocketHandle } from '../socket.ts';
import type { Address } from './address.ts';

/** The part of a socket that its namespace and iterators use. */
export interface NamespaceSocket {
  readonly protocol: number;
  readonly handle: SocketHandle;
}

/** A network namespace: addresses and bound sockets. */
export class VmNamespace<Socket extends NamespaceSocket = NamespaceSocket> {
  readonly name: string;
  readonly inode: bigint;
  readonly cookie: bigint;
  readonly v4: Address;
  readonly v6: Address;
  /** The region of its struct net. */
  readonly region: number;
  /** All its open sockets. */
  readonly sockets = new Set<Socket>();
  readonly #bound = new Map<number, Socket[]>();
  #nextPort = FIRST_EPHEMERAL;

  constructor(
    name: string,
    inode: bigint,
    cookie: bigint,
    v4: Address,
    v6: Address,
    region: number,
  ) {
    this.name = name;
    this.inode = inode;
    this.cookie = cookie;
    this.v4 = v4;
    this.v6 = v6;
    this.region = region;
  }

  /** Returns the sockets of a protocol that are bound to a port. */
  boundTo(protocol: number, port: number): readonly Socket[] {
    return this.#bound.get(key(protocol, port)) ?? none;
  }

  bind(socket: Socket, port: number): void {
    const at = key(socket.protocol, port);
    const others = this.#bound.get(at);
    if (others) others.push(socket);
    else this.#bound.set(at, [socket]);
  }

  unbind(socket: Socket, port: number): void {
    const at = key(socket.protocol, port);
    const left = this.boundTo(socket.protocol, port).filter((other) => other !== socket);
    if (left.length > 0) this.#bound.set(at, [...left]);
    else this.#bound.delete(at);
  }

  /** Returns a port to which no socket of the protocol is bound, or undefined when there is none. */
  freePort(protocol: number): number | undefined {
    for (let tries = 0; tries <= LAST_EPHEMERAL - FIRST_EPHEMERAL; tries++) {
      const port = this.#nextPort;
      this.#nextPort = port === LAST_EPHEMERAL ? FIRST_EPHEMERAL : port + 1;
      if (!this.#bound.has(key(protocol, port))) return port;
    }
    return undefined;
  }
}

/** net.ipv4.ip_local_port_range. */
const FIRST_EPHEMERAL = 32768;
const LAST_EPHEMERAL = 60999;

const none: readonly never[] = [];

const key = (protocol: number, port: number) => protocol * 65536 + port;
