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

/** What is to be said of a layer. */
type Of<L> = Omit<L, 'kind'>;
type IcmpFields<Name> = Omit<Icmp, 'kind' | 'type'> & {
  readonly type: Name | `${number}/${number}`;
};

/**
 * A packet, built layer by layer from the outside in. Each method gives a new packet:
 *
 *     eth().ipv4({ src: '192.0.2.9', dst: '192.0.2.1' }).tcp({ sport: 4000, dport: 80, syn: true })
 *
 * Lengths, protocol numbers and checksums come by themselves unless they are given.
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

  /** Reads a frame; every sequence of bytes is one. */
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

  /** Text, bytes, or so many bytes of a pattern. */
  payload(content: string | Uint8Array | number): Packet {
    if (typeof content === 'number') return this.payload(pattern(content));
    const bytes = typeof content === 'string' ? encodeUtf8(content) : content;
    return this.#and({ kind: 'payload', bytes });
  }

  /** The first bytes only, as in an ICMP error; lengths and checksums are those of the whole. */
  first(bytes: number): Packet {
    return new Packet({ ...this, cut: bytes });
  }

  /**
   * The same with other fields in the n-th layer of a kind, from the outside. What was worked out
   * is worked out again. Throws RangeError when there is no such layer.
   */
  with<Kind extends Layer['kind']>(kind: Kind, fields: Partial<Of<LayerOf<Kind>>>, n = 0): Packet {
    const at = this.layers.map((layer, i) => (layer.kind === kind ? i : -1)).filter((i) => i >= 0);
    const chosen = at[n];
    if (chosen === undefined) throw new RangeError(`change packet: it has no ${kind} ${n}`);
    const layers = this.layers.map((layer, i) => (i === chosen ? { ...layer, ...fields } : layer));
    return new Packet({ ...this, layers });
  }

  /** The n-th layer of a kind, from the outside. */
  layer<Kind extends Layer['kind']>(kind: Kind, n = 0): LayerOf<Kind> | undefined {
    return this.layers.filter((layer) => layer.kind === kind)[n] as LayerOf<Kind> | undefined;
  }

  /** The packet that an ICMP error is about. */
  get embedded(): Packet | undefined {
    const content = (this.layer('icmp') ?? this.layer('icmpv6'))?.embedded;
    return content && new Packet(content);
  }

  /** The same in another frame or tunnel: `outer` with what lies within this packet's own frame. */
  within(outer: Packet): Packet {
    const inner = this.layers.filter(({ kind }) => kind !== 'eth');
    return new Packet({ ...this, layers: [...outer.layers, ...inner] });
  }

  /**
   * Cuts the packet into fragments of so many bytes each; the last takes what is left. In IPv6, the
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
    // Built with its header, for the checksum of the whole.
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

  /** In words, a line for each layer. */
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

/** Layers that come again in each fragment. */
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

/** So many bytes of which no two neighbouring words are alike. */
export function pattern(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i + (i >> 8) * 7) & 0xff;
  return bytes;
}
