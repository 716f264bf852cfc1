import { eth, folded, type Packet } from '@heddle/lab';
import type { SocketAddress } from '@heddle/sys/net';

// The packets of floods: IPv4, each of another source address and port of 198.18.0.0/15, which no host has.

export const floodKinds = {
  syn: 'SYN',
  ack: 'ACK without a flow',
  'forged-ack': 'SYN, then an ACK with a wrong checksum',
  udp: 'UDP, answered',
  'silent-udp': 'UDP, not answered',
  rst: 'RST, half of them at established connections',
  fragment: 'first fragments of UDP',
  mixed: 'all of these',
} as const;

export type FloodKind = keyof typeof floodKinds;

/** The targets of a flood. */
export interface FloodTargets {
  readonly tcp: SocketAddress;
  readonly udp: SocketAddress;
  /** A UDP service that never answers. */
  readonly silent: SocketAddress;
  /** Established connections to `tcp` whose ends the attacker knows. */
  readonly victims: { readonly address: string; readonly ports: readonly number[] };
}

const firstPort = 1024;
const ports = 65_536 - firstPort;
const sourceRange = '198.18.0.0';
/** So many packets lie between a SYN and the forged ACK of its source. */
const ackDelay = 512;
/** Room for a frame: the largest has 66 bytes. */
export const frameRoom = 128;

// Offsets in an Ethernet frame of IPv4 without options.
const at = { id: 18, ipSum: 24, source: 26, host: 28, port: 34, sequence: 38 } as const;
const sumAt = { tcp: 50, udp: 40 } as const;

/** A packet whose source is filled in later. */
interface Shape {
  readonly bytes: Uint8Array;
  /** Offset of the checksum of TCP or UDP. It is absent if the packet has none. */
  readonly sum?: number;
  /** Sums with zeros in the place of what changes. */
  readonly sumOfAll: number;
  readonly sumOfHeader: number;
  /** Is added to the right checksum. */
  readonly error: number;
}

function shape(packet: Packet, protocol?: keyof typeof sumAt, error = 0): Shape {
  const { bytes } = packet;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const sum = protocol && sumAt[protocol];
  return {
    bytes,
    ...(sum === undefined ? {} : { sum }),
    sumOfAll: sum === undefined ? 0 : ~view.getUint16(sum) & 0xffff,
    sumOfHeader: ~view.getUint16(at.ipSum) & 0xffff,
    error,
  };
}

/** Writes the packets of one flood, one after the other. */
export class FloodFrames {
  readonly #shapes: Readonly<Record<string, Shape>>;
  readonly #write: (n: number, into: Uint8Array, view: DataView) => number;
  readonly #victims: FloodTargets['victims'];
  #next: number;

  /** `hop`: the link-layer addresses of the frames. `first`: the number of packets of the flood so far. */
  constructor(
    hop: { src: string; dst: string },
    targets: FloodTargets,
    kind: FloodKind,
    first = 0,
  ) {
    this.#next = first;
    const from = (to: SocketAddress, src = sourceRange) => eth(hop).ipv4({ src, dst: to.address });
    const tcp = (flags: object, src?: string) =>
      from(targets.tcp, src).tcp({ sport: 0, dport: targets.tcp.port, ...flags });
    const udp = (to: SocketAddress) =>
      from(to).udp({ sport: 0, dport: to.port }).payload('question');
    const { silent, victims } = targets;
    const [fragment] = from(silent)
      .udp({ sport: 0, dport: silent.port, checksum: 'none' })
      .payload('a datagram that needs two fragments')
      .fragments([24], 0);
    this.#victims = victims;
    this.#shapes = {
      syn: shape(tcp({ syn: true, seq: 1, options: { mss: 1460 } }), 'tcp'),
      ack: shape(tcp({ ack: true, seq: 2, ackSeq: 7 }), 'tcp'),
      forged: shape(tcp({ ack: true, seq: 2, ackSeq: 7 }), 'tcp', 1),
      rst: shape(tcp({ rst: true, seq: 0 }), 'tcp'),
      victimRst: shape(tcp({ rst: true, seq: 0 }, victims.address), 'tcp'),
      udp: shape(udp(targets.udp), 'udp'),
      silent: shape(udp(silent), 'udp'),
      fragment: shape(fragment!),
    };
    const writers: Record<FloodKind, (n: number, into: Uint8Array, view: DataView) => number> = {
      syn: (n, into, view) => this.#spoofed('syn', n, into, view),
      ack: (n, into, view) => this.#spoofed('ack', n, into, view),
      'forged-ack': (n, into, view) =>
        n % 2 === 0 || n < ackDelay
          ? this.#spoofed('syn', n, into, view)
          : this.#spoofed('forged', n - ackDelay + 1, into, view),
      udp: (n, into, view) => this.#spoofed('udp', n, into, view),
      'silent-udp': (n, into, view) => this.#spoofed('silent', n, into, view),
      rst: (n, into, view) =>
        n % 2 === 0 || victims.ports.length === 0
          ? this.#spoofed('rst', n, into, view)
          : this.#reset(n, into, view),
      fragment: (n, into, view) => this.#spoofed('fragment', n, into, view),
      mixed: (n, into, view) => {
        const kinds = Object.values(writers).slice(0, -1);
        return kinds[n % kinds.length]!(Math.floor(n / kinds.length), into, view);
      },
    };
    this.#write = writers[kind];
  }

  /** Writes the next packet; returns its length. */
  next(into: Uint8Array, view: DataView): number {
    return this.#write(this.#next++, into, view);
  }

  #spoofed(name: string, n: number, into: Uint8Array, view: DataView): number {
    const { bytes, sum, sumOfAll, sumOfHeader, error } = this.#shapes[name]!;
    // Neighbouring packets have nothing in common but their range.
    const host = Math.imul(n, 40_503) & 0xffff;
    const port = firstPort + (((n >>> 16) + n * 7) % ports);
    const id = sum === undefined ? n & 0xffff : 0;
    into.set(bytes);
    view.setUint16(at.host, host);
    view.setUint16(at.port, port);
    if (id !== 0) view.setUint16(at.id, id);
    // RFC 1624.
    view.setUint16(at.ipSum, ~folded(sumOfHeader + host + id) & 0xffff);
    if (sum !== undefined) {
      view.setUint16(sum, (~folded(sumOfAll + host + port) + error) & 0xffff);
    }
    return bytes.length;
  }

  /** Returns a reset of an established connection, somewhere in the space of sequence numbers. */
  #reset(n: number, into: Uint8Array, view: DataView): number {
    const { bytes, sum, sumOfAll } = this.#shapes.victimRst!;
    const port = this.#victims.ports[(n >>> 1) % this.#victims.ports.length]!;
    const sequence = Math.imul(n, 0x9e3779b1) >>> 0;
    into.set(bytes);
    view.setUint16(at.port, port);
    view.setUint32(at.sequence, sequence);
    view.setUint16(
      sum!,
      ~folded(sumOfAll + port + (sequence >>> 16) + (sequence & 0xffff)) & 0xffff,
    );
    return bytes.length;
  }
}
