import { attachTypes } from '@heddle/ebpf';
import { errno } from '@heddle/sys';
import { AF_INET, IPPROTO_TCP, IPPROTO_UDP, SOCK_STREAM } from '@heddle/sys/net';
import type { Memory } from '../memory.ts';
import { VmObject } from '../objects.ts';
import { SocketHandle } from '../socket.ts';
import {
  type Address,
  anyV4,
  anyV6,
  broadcast,
  type Endpoint,
  fromBytes,
  isAny,
  isLinkLocal,
  isLoopback,
  isMapped,
  loopbackV4,
  loopbackV6,
  toBytes,
} from './address.ts';
import type { VmCgroup } from './cgroup.ts';
import type { SocketHooks } from './hooks.ts';
import { familyOf } from './hooks.ts';
import type { VmNamespace } from './namespace.ts';
import type { StateChanges } from './state-changes.ts';

/** The cgroup and network namespace of a process, to which its sockets belong. */
export interface VmContext {
  readonly namespace: SocketNamespace;
  readonly cgroup: VmCgroup;
}

/** A network namespace with sockets. */
export type SocketNamespace = VmNamespace<VmSocket>;

/** The part of a host that its sockets use. */
export interface SocketHost {
  /** The context (cgroup, network namespace) of the calling thread. */
  context: VmContext;
  readonly machine: { readonly memory: Memory };
  readonly hooks: SocketHooks;
  readonly stateChanges: StateChanges;
  /** The open sockets by the object that programs refer to. */
  readonly sockets: Map<object, VmSocket>;
  nextSocketCookie(): bigint;
  /** Removes the storage of a closed socket. */
  forgetStorage(socket: SocketHandle): void;
  /** Returns the namespace of an address, seen from another one, or undefined when there is no route. */
  namespaceOf(address: Address, from: SocketNamespace): SocketNamespace | undefined;
  /** Runs `work` in another context, and returns to the present one. */
  inContext<Result>(context: VmContext, work: () => Result): Result;
}

/** States of include/net/tcp_states.h. */
const TCP_ESTABLISHED = 1;
const TCP_SYN_SENT = 2;
const TCP_CLOSE = 7;
/** The largest number of queued datagrams. */
const QUEUE = 256;

interface Datagram {
  readonly bytes: Uint8Array;
  readonly from: Endpoint;
}

/**
 * A TCP or UDP socket over addresses of the simulated network. Calls return 0 or -errno and never block:
 * where the kernel would block, they fail with EAGAIN. Cgroup hooks run at the same points as in the
 * kernel (net/ipv4/af_inet.c, udp.c, tcp_ipv4.c and the IPv6 files).
 */
export class VmSocket extends VmObject {
  readonly family: number;
  readonly protocol: number;
  readonly handle: SocketHandle;
  readonly namespace: SocketNamespace;
  /** IP_BIND_ADDRESS_NO_PORT: after bind() to port 0, connect() chooses the port. */
  bindsNoPort = false;
  /** SO_REUSEPORT. */
  reusesPort = false;
  readonly #host: SocketHost;
  readonly #cgroup: VmCgroup;
  #onlyIpv6 = false;
  #own: Endpoint;
  #connectedTo: Endpoint | undefined;
  /** The other end of a TCP connection. */
  #peerSocket: VmSocket | undefined;
  #backlog: VmSocket[] | undefined;
  #queue: Datagram[] = [];
  /** The error that the next call reports. */
  #error = 0;
  #destroyed = false;

  constructor(host: SocketHost, family: number, type: number) {
    super('file', 0);
    this.#host = host;
    this.family = family;
    this.protocol = type === SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
    this.namespace = host.context.namespace;
    this.#cgroup = host.context.cgroup;
    this.#own = { address: family === AF_INET ? anyV4 : anyV6, port: 0 };
    this.handle = new SocketHandle(host.machine.memory, {
      family,
      type,
      protocol: this.protocol,
      netnsCookie: this.namespace.cookie,
      cookie: host.nextSocketCookie(),
      network: this.namespace.region,
    });
    this.handle.bind = (address, port) => this.#bindByProgram(fromBytes(address), port);
    this.namespace.sockets.add(this);
    host.sockets.set(this.handle, this);
  }

  get ownName(): Endpoint {
    return this.#local;
  }

  get onlyIpv6(): boolean {
    return this.#onlyIpv6;
  }

  set onlyIpv6(only: boolean) {
    this.#onlyIpv6 = only;
    this.handle.onlyIpv6 = only;
  }

  get #local(): Endpoint {
    return this.#own;
  }

  /** Programs see it, too. */
  set #local(own: Endpoint) {
    this.#own = own;
    this.handle.showSource(toBytes(own.address), own.port);
  }

  get #peer(): Endpoint | undefined {
    return this.#connectedTo;
  }

  /** Programs see it, too. */
  set #peer(peer: Endpoint | undefined) {
    const isOver = this.#connectedTo !== undefined && peer === undefined;
    this.#connectedTo = peer;
    this.handle.showPeer(peer && toBytes(peer.address), peer?.port ?? 0);
    if (isOver && this.protocol === IPPROTO_TCP)
      this.#host.stateChanges.report(this.handle, TCP_ESTABLISHED, TCP_CLOSE);
  }

  bind(endpoint: Endpoint): number {
    if (this.#local.port !== 0) return -errno.EINVAL;
    const family = familyOf(this.family, endpoint.address, 'bind');
    const hook = this.#host.hooks.address('bind', family, this.handle, this.#cgroup, endpoint);
    if (hook.result < 0) return hook.result;
    if (!this.bindsNoPort || hook.endpoint.port !== 0) return this.#bindTo(hook.endpoint);
    this.#local = hook.endpoint;
    return 0;
  }

  connect(endpoint: Endpoint): number {
    const family = familyOf(this.family, endpoint.address, 'connect');
    if (this.protocol === IPPROTO_TCP && this.#peer) return -errno.EISCONN;
    const hook = this.#host.hooks.address('connect', family, this.handle, this.#cgroup, endpoint);
    if (hook.result < 0) return hook.result;
    const to = this.#routed(hook.endpoint);
    if (this.family === AF_INET && !isMapped(to.address)) return -errno.EAFNOSUPPORT;
    if (this.#local.port === 0) {
      const bound = this.#bindTo({ address: this.#local.address, port: 0 });
      if (bound < 0) return bound;
    }
    const source = this.#sourceFor(to.address);
    if (!this.#canLeave(source, to.address)) return -errno.EINVAL;
    if (this.protocol === IPPROTO_UDP) {
      // __ip4_datagram_connect without SO_BROADCAST, __ip6_datagram_connect without a scope id.
      if (to.address === broadcast) return -errno.EACCES;
      if (isLinkLocal(to.address)) return -errno.EINVAL;
    }
    if (this.protocol === IPPROTO_TCP) {
      const result = this.#connectStream(to, source);
      if (result < 0) {
        this.#host.stateChanges.report(this.handle, TCP_SYN_SENT, TCP_CLOSE);
        return result;
      }
    }
    this.#local = { address: source, port: this.#local.port };
    this.#peer = to;
    this.#destroyed = false;
    return 0;
  }

  /** Disconnects: connect() to AF_UNSPEC. */
  disconnect(): number {
    this.#peer = undefined;
    this.#local = { address: this.family === AF_INET ? anyV4 : anyV6, port: this.#local.port };
    return 0;
  }

  listen(): number {
    if (this.protocol !== IPPROTO_TCP) return -errno.EOPNOTSUPP;
    this.#backlog ??= [];
    return 0;
  }

  accept(): VmSocket | undefined {
    return this.#backlog?.shift();
  }

  /** Sends to the peer, or to an endpoint (UDP). Returns the number of bytes. */
  send(bytes: Uint8Array, named?: Endpoint): number {
    const failed = this.#takeError();
    if (failed < 0) return failed;
    if (this.protocol === IPPROTO_TCP) return this.#sendStream(bytes);
    let to = named;
    if (to) {
      const family = familyOf(this.family, to.address, 'sendmsg');
      const hook = this.#host.hooks.address('sendmsg', family, this.handle, this.#cgroup, to);
      if (hook.result < 0) return hook.result;
      to = this.#routed(hook.endpoint);
    }
    to ??= this.#peer;
    if (!to) return -errno.EDESTADDRREQ;
    if (this.#local.port === 0) {
      const bound = this.#bindTo({ address: this.#local.address, port: 0 });
      if (bound < 0) return bound;
    }
    const from = { address: this.#sourceFor(to.address), port: this.#local.port };
    if (!this.#canLeave(from.address, to.address)) return -errno.EINVAL;
    const target = this.#host.namespaceOf(to.address, this.namespace);
    const receiver = target && bestReceiver(target, this.protocol, to, from);
    if (receiver) receiver.#queueUp({ bytes: bytes.slice(), from });
    else if (target && !named) this.#error = -errno.ECONNREFUSED;
    return bytes.length;
  }

  /** Returns the next datagram (or the received bytes of TCP) and its source; -errno when there is none. */
  receive(): Datagram | number {
    const failed = this.#takeError();
    if (failed < 0) return failed;
    const next = this.#queue.shift();
    if (!next) return this.#destroyed ? -errno.ENOTCONN : -errno.EAGAIN;
    if (this.protocol === IPPROTO_TCP) return next;
    const family = familyOf(this.family, next.from.address, 'recvmsg');
    const hook = this.#host.hooks.address('recvmsg', family, this.handle, this.#cgroup, next.from);
    return hook.result < 0 ? hook.result : { bytes: next.bytes, from: hook.endpoint };
  }

  /** getpeername(); -errno when there is no peer. */
  peerName(): Endpoint | number {
    if (!this.#peer) return -errno.ENOTCONN;
    const family = familyOf(this.family, this.#peer.address, 'getpeername');
    const hook = this.#host.hooks.address(
      'getpeername',
      family,
      this.handle,
      this.#cgroup,
      this.#peer,
    );
    return hook.result < 0 ? hook.result : hook.endpoint;
  }

  /** bpf_sock_destroy, SOCK_DESTROY: the next call returns ECONNABORTED. */
  abort(): void {
    this.#error = -errno.ECONNABORTED;
    this.#destroyed = true;
    this.#peer = undefined;
    this.#hangUp();
  }

  protected override destroy(): void {
    const host = this.#host;
    host.hooks.socket(attachTypes.cgroup_inet_sock_release, this.handle, this.#cgroup);
    for (const waiting of this.#backlog ?? []) waiting.release();
    this.#hangUp();
    if (this.#local.port !== 0) this.namespace.unbind(this, this.#local.port);
    this.namespace.sockets.delete(this);
    host.sockets.delete(this.handle);
    host.forgetStorage(this.handle);
    this.handle.dispose();
  }

  #hangUp(): void {
    const peer = this.#peerSocket;
    this.#peerSocket = undefined;
    if (peer) peer.#peerSocket = undefined;
  }

  #bindTo({ address, port }: Endpoint): number {
    const { namespace, protocol } = this;
    const own =
      isAny(address) ||
      isLoopback(address) ||
      this.#host.namespaceOf(address, namespace) === namespace;
    if (!own) return -errno.EADDRNOTAVAIL;
    const taken = namespace
      .boundTo(protocol, port)
      .some((other) => port !== 0 && this.#conflicts(other, address));
    if (taken) return -errno.EADDRINUSE;
    const chosen = port || namespace.freePort(protocol);
    if (chosen === undefined) return -errno.EADDRINUSE;
    this.#local = { address, port: chosen };
    namespace.bind(this, chosen);
    return 0;
  }

  /** Binds as __inet_bind with BIND_FROM_BPF: it fails if there is a port, and chooses none before connect(). */
  #bindByProgram(address: Address, port: number): number {
    if (this.#local.port !== 0) return -errno.EINVAL;
    if (port !== 0) return this.#bindTo({ address, port });
    this.#local = { address, port };
    return 0;
  }

  /** Returns true if there is a route. No route leads from a loopback address to another host. */
  #canLeave(source: Address, to: Address): boolean {
    return !isLoopback(source) || this.#host.namespaceOf(to, this.namespace) === this.namespace;
  }

  #conflicts(other: VmSocket, address: Address): boolean {
    if (this.reusesPort && other.reusesPort) return false;
    // A connected TCP socket shares the port of its listener.
    if (other.#peer && this.protocol === IPPROTO_TCP) return false;
    const { address: taken } = other.#local;
    if (!isAny(taken) && !isAny(address)) return taken === address;
    const apart = (socket: VmSocket, own: Address, their: Address) =>
      socket.onlyIpv6 ? isMapped(their) : isMapped(own) && !isMapped(their) && !isAny(their);
    return !apart(this, address, taken) && !apart(other, taken, address);
  }

  #connectStream(to: Endpoint, source: Address): number {
    const target = this.#host.namespaceOf(to.address, this.namespace);
    if (!target) return -errno.EHOSTUNREACH;
    const listener = target
      .boundTo(IPPROTO_TCP, to.port)
      .find((socket) => socket.#backlog !== undefined && socket.#takes(to.address));
    if (!listener) return -errno.ECONNREFUSED;
    const accepted = this.#host.inContext(
      { namespace: target, cgroup: listener.#cgroup },
      () => new VmSocket(this.#host, listener.family, SOCK_STREAM),
    );
    accepted.retain();
    accepted.#local = to;
    accepted.#peer = { address: source, port: this.#local.port };
    target.bind(accepted, to.port);
    accepted.#peerSocket = this;
    this.#peerSocket = accepted;
    listener.#backlog!.push(accepted);
    return 0;
  }

  #sendStream(bytes: Uint8Array): number {
    if (!this.#peerSocket) return -errno.EPIPE;
    this.#peerSocket.#queueUp({ bytes: bytes.slice(), from: this.#local });
    return bytes.length;
  }

  #queueUp(datagram: Datagram): void {
    if (this.#queue.length < QUEUE) this.#queue.push(datagram);
  }

  #takeError(): number {
    const error = this.#error;
    this.#error = 0;
    return error;
  }

  /** Returns loopback for the unspecified address, as connect() does. */
  #routed(to: Endpoint): Endpoint {
    if (!isAny(to.address)) return to;
    return { address: isMapped(to.address) ? loopbackV4 : loopbackV6, port: to.port };
  }

  #sourceFor(to: Address): Address {
    if (!isAny(this.#local.address)) return this.#local.address;
    if (isLoopback(to)) return isMapped(to) ? loopbackV4 : loopbackV6;
    return isMapped(to) ? this.namespace.v4 : this.namespace.v6;
  }

  /** Returns true if the socket receives packets for an address of the namespace. */
  #takes(address: Address): boolean {
    const own = this.#local.address;
    if (own === address) return true;
    if (!isAny(own)) return false;
    if (this.family === AF_INET) return isMapped(address);
    return !(this.onlyIpv6 && isMapped(address)) && own === anyV6;
  }

  /** Returns the rank of a UDP socket for a datagram: 2 if connected to the sender, 1 if unconnected, 0 if it does not match. */
  fit(to: Endpoint, from: Endpoint): number {
    if (!this.#takes(to.address)) return 0;
    if (!this.#peer) return 1;
    return this.#peer.address === from.address && this.#peer.port === from.port ? 2 : 0;
  }
}

/** Returns the socket of the namespace that receives a datagram. */
function bestReceiver(
  target: SocketNamespace,
  protocol: number,
  to: Endpoint,
  from: Endpoint,
): VmSocket | undefined {
  let best: VmSocket | undefined;
  let most = 0;
  for (const socket of target.boundTo(protocol, to.port)) {
    const fit = socket.fit(to, from);
    if (fit > most) [best, most] = [socket, fit];
  }
  return best;
}
