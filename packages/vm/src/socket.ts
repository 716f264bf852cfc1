import type { Memory } from './memory.ts';

/** The fields of a socket for programs (struct bpf_sock). */
export interface SocketFields {
  readonly family: number;
  /** SOCK_STREAM, SOCK_DGRAM. */
  readonly type: number;
  /** IPPROTO_*. */
  readonly protocol: number;
  /** The cookie of its network namespace. */
  readonly netnsCookie: bigint;
  readonly cookie: bigint;
  /** The region of the network namespace's struct net, if there is one. */
  readonly network?: number;
}

/** The bytes of struct bpf_sock and, behind it, of the simulated struct sock (kernel-btf.ts), and offsets in them. */
const SIZE = 128;
const SOURCE_IPV4 = 24;
const SOURCE_IPV6 = 28;
const SOURCE_PORT = 44;
const PEER_PORT = 48;
const PEER_IPV4 = 52;
const PEER_IPV6 = 56;
const STATE = 72;
const NETWORK = 80;
const COMMON = { state: 89, family: 90, peerPort: 92, peerIpv4: 96, peerIpv6: 100 } as const;
const PROTOCOL = 120;
/** States of include/net/tcp_states.h. UDP sockets have them, too. */
const TCP_ESTABLISHED = 1;
const TCP_CLOSE = 7;
/** The bytes of struct sock_common in kernel-btf.ts, and the offset of skc_ipv6only. */
const COMMON_SIZE = 40;
const IPV6_ONLY = 8;

/** A socket for programs: an address, and the owner of socket storage. */
export class SocketHandle {
  readonly fields: SocketFields;
  /** The region of its struct bpf_sock and struct sock. */
  readonly region: number;
  /** The bytes of that region; linux/bpf.h has the offsets. */
  readonly view: DataView;
  /** Implements bpf_bind(): binds to an address (16 bytes) and port, and returns 0 or -errno. */
  bind: ((address: Uint8Array, port: number) => number) | undefined;
  readonly #memory: Memory;
  readonly #common = new Uint8Array(COMMON_SIZE);
  #commonRegion: number | undefined;

  constructor(memory: Memory, fields: SocketFields) {
    this.fields = fields;
    const bytes = new Uint8Array(SIZE);
    this.view = new DataView(bytes.buffer);
    this.view.setUint32(4, fields.family, true);
    this.view.setUint32(8, fields.type, true);
    this.view.setUint32(12, fields.protocol, true);
    this.view.setInt32(NETWORK + 4, fields.network ?? 0, true);
    this.view.setUint16(PROTOCOL, fields.protocol, true);
    this.view.setUint16(COMMON.family, fields.family, true);
    this.#memory = memory;
    this.region = memory.add({ kind: 'kernel', what: 'a socket', object: this }, bytes);
    this.showPeer(undefined, 0);
  }

  /** The region of its struct sock_common. */
  get commonRegion(): number {
    this.#commonRegion ??= this.#memory.add(
      { kind: 'kernel', what: 'struct sock_common', object: this },
      this.#common,
      false,
    );
    return this.#commonRegion;
  }

  set onlyIpv6(only: boolean) {
    this.#common[IPV6_ONLY] = only ? 1 : 0;
  }

  /** Sets the local address (16 bytes, IPv4 mapped) and port that programs see. */
  showSource(address: Uint8Array, port: number): void {
    const bytes = new Uint8Array(this.view.buffer);
    bytes.set(address.subarray(12), SOURCE_IPV4);
    bytes.set(address, SOURCE_IPV6);
    this.view.setUint32(SOURCE_PORT, port, true);
  }

  /** Sets the peer's address (16 bytes, IPv4 mapped) and port that programs see; without an address: no peer. */
  showPeer(address: Uint8Array | undefined, port: number): void {
    const bytes = new Uint8Array(this.view.buffer);
    const state = address ? TCP_ESTABLISHED : TCP_CLOSE;
    const shown = address ?? new Uint8Array(16);
    this.view.setUint32(STATE, state, true);
    this.view.setUint8(COMMON.state, state);
    for (const at of [PEER_PORT, COMMON.peerPort]) this.view.setUint16(at, port);
    for (const at of [PEER_IPV4, COMMON.peerIpv4]) bytes.set(shown.subarray(12), at);
    for (const at of [PEER_IPV6, COMMON.peerIpv6]) bytes.set(shown, at);
  }

  dispose(): void {
    if (this.#commonRegion !== undefined) this.#memory.remove(this.#commonRegion);
    this.#memory.remove(this.region);
  }
}
