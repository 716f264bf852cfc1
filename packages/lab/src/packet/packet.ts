import { encodeUtf8 } from '@heddle/sys';
import { encodePacket } from './encode.ts';
import { formatContent } from './format.ts';
import {
  type Ethernet,
  type Extension,
  type FragmentHeader,
  type Icmp,
  type Ipv4,
  type Ipv6,
  type icmpTypes,
  type icmpv6Types,
  type Layer,
  type LayerOf,
  type PacketContent,
  protocols,
  type Sctp,
  type Tcp,
  type Udp,
} from './layers.ts';
import { parseFrame, parseIpPacket } from './parse.ts';

/** The fields of a layer without its kind. */
type Of<L> = Omit<L, 'kind'>;
type IcmpFields<Name> = Omit<Icmp, 'kind' | 'type'> & {
  readonly type: Name | `${number}/${number}`;
};

/**
 * A packet, built layer by layer from the outermost to the innermost. Each method returns a new packet:
 *
 *     eth().ipv4({ src: '192.0.2.9', dst: '192.0.2.1' }).tcp({ sport: 4000, dport: 80, syn: true })
 *
 * Lengths, protocol numbers and checksums are computed unless they are given.
 */
export class Packet implements PacketContent {
  readonly layers: readonly Layer[];
  readonly cut?: number;
  readonly trailer?: Uint8Array;

  constructor({ layers, cut, trailer }: PacketContent) {
    this.layers = layers;
    if (cut !== undefined) this.cut = cut;
    if (trailer !== undefined) this.trailer = trailer;
  }

  /** Reads a frame. Every sequence of bytes is one. */
  static parse(bytes: Uint8Array): Packet {
    return new Packet(parseFrame(bytes));
  }

  /** Reads a packet that starts with its IP header. */
  static parseIp(bytes: Uint8Array): Packet {
    return new Packet(parseIpPacket(bytes));
  }

  ipv4(fields: Of<Ipv4>): Packet {
    return this.#and({ kind: 'ipv4', ...fields });
  }

  ipv6(fields: Of<Ipv6>): Packet {
    return this.#and({ kind: 'ipv6', ...fields });
  }

  extension(kind: Extension['kind'], fields: Of<Extension> = {}): Packet {
    return this.#and({ kind, ...fields });
  }

  fragmentHeader(fields: Of<FragmentHeader>): Packet {
    return this.#and({ kind: 'fragment', ...fields });
  }

  tcp(fields: Of<Tcp>): Packet {
    return this.#and({ kind: 'tcp', ...fields });
  }

  udp(fields: Of<Udp>): Packet {
    return this.#and({ kind: 'udp', ...fields });
  }

  sctp(fields: Of<Sctp>): Packet {
    return this.#and({ kind: 'sctp', ...fields });
  }

  icmp(fields: IcmpFields<keyof typeof icmpTypes>): Packet {
    return this.#and({ kind: 'icmp', ...fields });
  }

  icmpv6(fields: IcmpFields<keyof typeof icmpv6Types>): Packet {
    return this.#and({ kind: 'icmpv6', ...fields });
  }

  /** Appends a payload: text, bytes, or a number of bytes of a pattern. */
  payload(content: string | Uint8Array | number): Packet {
    if (typeof content === 'number') return this.payload(pattern(content));
    const bytes = typeof content === 'string' ? encodeUtf8(content) : content;
    return this.#and({ kind: 'payload', bytes });
  }

  /** Truncates the packet, as in an ICMP error; lengths and checksums are those of the whole one. */
  first(bytes: number): Packet {
    return new Packet({ ...this, cut: bytes });
  }

  /**
   * Returns the packet with other fields in the n-th layer of a kind, counted from the outermost.
   * Computed fields are computed again. Throws RangeError when there is no such layer.
   */
  with<Kind extends Layer['kind']>(kind: Kind, fields: Partial<Of<LayerOf<Kind>>>, n = 0): Packet {
    const at = this.layers.map((layer, i) => (layer.kind === kind ? i : -1)).filter((i) => i >= 0);
    const chosen = at[n];
    if (chosen === undefined) throw new RangeError(`change packet: it has no ${kind} ${n}`);
    const layers = this.layers.map((layer, i) => (i === chosen ? { ...layer, ...fields } : layer));
    return new Packet({ ...this, layers });
  }

  /** Returns the n-th layer of a kind, counted from the outermost, or undefined when there is none. */
  layer<Kind extends Layer['kind']>(kind: Kind, n = 0): LayerOf<Kind> | undefined {
    return this.layers.filter((layer) => layer.kind === kind)[n] as LayerOf<Kind> | undefined;
  }

  /** The packet that caused an ICMP error. */
  get embedded(): Packet | undefined {
    const content = (this.layer('icmp') ?? this.layer('icmpv6'))?.embedded;
    return content && new Packet(content);
  }

  /** Returns the packet without its frame inside of `outer`, another frame or tunnel. */
  within(outer: Packet): Packet {
    const inner = this.layers.filter(({ kind }) => kind !== 'eth');
    return new Packet({ ...this, layers: [...outer.layers, ...inner] });
  }

  /**
   * Returns fragments of the given sizes in bytes, and a last one with the rest. In IPv6 the
   * extension headers stay in front of the fragment header. Throws RangeError unless the sizes are
   * multiples of 8.
   */
  fragments(sizes: readonly number[], id = 1): Packet[] {
    const last = this.layers.findLastIndex(({ kind }) => beforeFragments.has(kind));
    const head = new Packet({ layers: this.layers.slice(0, last + 1) });
    const ip = head.layers.findLast(({ kind }) => kind === 'ipv4' || kind === 'ipv6');
    if (!ip) throw new RangeError('fragment packet: it has no IP header');
    const next = this.layers[last + 1]?.kind ?? 'payload';
    const protocol = protocols[next as keyof typeof protocols] ?? 59;
    // The whole packet is built for its checksum.
    const content = this.bytes.subarray(head.bytes.length);
    const ends = sizes.map((_, i) => sizes.slice(0, i + 1).reduce((sum, size) => sum + size, 0));
    const starts = [0, ...ends].filter((start) => start < content.length);
    return starts.map((offset, i) => {
      const bytes = content.subarray(offset, starts[i + 1]);
      const more = i < starts.length - 1;
      const fragment =
        ip.kind === 'ipv4'
          ? head.with('ipv4', { id, offset, mf: more, protocol }, head.#count('ipv4') - 1)
          : head.fragmentHeader({ id, offset, more, nextHeader: protocol });
      return fragment.payload(bytes);
    });
  }

  get bytes(): Uint8Array {
    return encodePacket(this);
  }

  /** Returns a description with one line for each layer. */
  toString(): string {
    const isFrame = this.layers[0]?.kind === 'eth';
    const { bytes } = this;
    return formatContent(isFrame ? parseFrame(bytes) : parseIpPacket(bytes));
  }

  #count(kind: Layer['kind']): number {
    return this.layers.filter((layer) => layer.kind === kind).length;
  }

  #and(layer: Layer): Packet {
    return new Packet({ ...this, layers: [...this.layers, layer] });
  }
}

/** Layers that each fragment repeats. */
const beforeFragments: ReadonlySet<Layer['kind']> = new Set([
  ...(['eth', 'ipv4', 'ipv6', 'hop-by-hop', 'routing'] as const),
]);

/** Starts a frame. */
export function eth(fields: Of<Ethernet> = {}): Packet {
  return new Packet({ layers: [{ kind: 'eth', ...fields }] });
}

/** Starts a packet without a frame, e.g. one that an ICMP error carries. */
export function ipv4(fields: Of<Ipv4>): Packet {
  return new Packet({ layers: [] }).ipv4(fields);
}

/** Starts a packet without a frame, e.g. one that an ICMP error carries. */
export function ipv6(fields: Of<Ipv6>): Packet {
  return new Packet({ layers: [] }).ipv6(fields);
}

/** Returns `size` bytes in which adjacent words differ. */
export function pattern(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i + (i >> 8) * 7) & 0xff;
  return bytes;
}
