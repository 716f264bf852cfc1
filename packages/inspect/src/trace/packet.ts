import { eth, type Icmp, type Ip, ipv4, ipv6, type Layer, Packet, type Tcp } from '@heddle/lab';
import { formatEndpoint } from '@heddle/sys';
import { type IcmpErrorKind, type TcpFlag, type TraceProtocol, tcpFlags } from './request.ts';

/** The address of the router behind the interface: locally administered. */
const routerMac = '02:00:00:00:00:fe';

/** The IPv4 and the IPv6 message of each kind of ICMP error. */
const errors = {
  unreachable: ['port-unreachable', 'port-unreachable'],
  'too-large': ['fragmentation-needed', 'packet-too-big'],
  'time-exceeded': ['time-exceeded', 'time-exceeded'],
} as const satisfies Record<IcmpErrorKind, readonly [string, string]>;

/** The MTU that a too-large error reports: the least that IPv6 allows. */
const smallMtu = 1280;

/** The addresses and ports of a packet. */
export interface Ends {
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
}

/** Returns the ends of packets in the other direction. */
export function inverseOf({ source, sourcePort, destination, destinationPort }: Ends): Ends {
  return {
    ...{ source: destination, sourcePort: destinationPort },
    ...{ destination: source, destinationPort: sourcePort },
  };
}

/** The position of a packet in its connection, which decides TCP flags and the SCTP chunk. */
export type PacketPosition = 'first' | 'answer' | 'later';

const usualFlags: Readonly<Record<PacketPosition, readonly TcpFlag[]>> = {
  ...{ first: ['syn'], answer: ['syn', 'ack'], later: ['ack'] },
};
const chunks = { first: 'init', answer: 'init-ack', later: 'heartbeat' } as const;

/** Returns a packet without a link header. */
export function packetOf(
  protocol: TraceProtocol,
  ends: Ends,
  position: PacketPosition,
  flags: readonly TcpFlag[] = usualFlags[position],
): Packet {
  const { sourcePort: sport, destinationPort: dport } = ends;
  const ip = header(ends);
  switch (protocol) {
    case 'tcp':
      return ip.tcp({ sport, dport, ...Object.fromEntries(flags.map((flag) => [flag, true])) });
    case 'udp':
      return ip.udp({ sport, dport }).payload('trace');
    case 'sctp':
      return ip.sctp({ sport, dport, tag: 0, chunks: [{ type: chunks[position] }] });
    case 'icmp': {
      const echo = { type: 'echo-request', id: 1, sequence: 1 } as const;
      return (isV4(ends) ? ip.icmp(echo) : ip.icmpv6(echo)).payload('trace');
    }
  }
}

/** Returns the ICMP error about a packet that its addressee would send. */
export function errorAbout(kind: IcmpErrorKind, about: Packet, ends: Ends): Packet {
  const [v4, v6] = errors[kind];
  const ip = header(inverseOf(ends));
  const rest = { embedded: about, ...(kind === 'too-large' ? { mtu: smallMtu } : {}) };
  return isV4(ends) ? ip.icmp({ type: v4, ...rest }) : ip.icmpv6({ type: v6, ...rest });
}

/** Returns the frame of a packet that arrives at an interface with this MAC address, from a router or `sender`. */
export function frameFor(mac: string, packet: Packet, sender = routerMac): Uint8Array {
  return packet.within(eth({ src: sender, dst: mac })).bytes;
}

function header({ source: src, destination: dst }: Ends): Packet {
  return src.includes(':') ? ipv6({ src, dst }) : ipv4({ src, dst });
}

const isV4 = ({ source }: Ends) => !source.includes(':');

/** A description of a packet. */
export interface DescribedPacket {
  /** E.g. `TCP`, `a TCP reset`, `ICMP port-unreachable`. */
  readonly kind: string;
  readonly text: string;
  readonly ends: Ends;
  /** The inner packet of a tunnel; `ends` are the tunnel's. */
  readonly inner?: DescribedPacket;
}

export function describePacket(packet: Packet): DescribedPacket {
  const { layers } = packet;
  const [outer, inner] = layers.filter(({ kind }) => kind === 'ipv4' || kind === 'ipv6') as Ip[];
  if (outer && inner) {
    const content = describePacket(new Packet({ layers: layers.slice(layers.indexOf(inner)) }));
    return {
      ...{ kind: content.kind, inner: content },
      text: `${content.text}, in a tunnel from ${outer.src} to ${outer.dst}`,
      ends: { source: outer.src, sourcePort: 0, destination: outer.dst, destinationPort: 0 },
    };
  }
  const ip = layerOf(layers, 'ipv4') ?? layerOf(layers, 'ipv6');
  const transport = layerOf(layers, 'tcp') ?? layerOf(layers, 'udp') ?? layerOf(layers, 'sctp');
  const ends = {
    ...{ source: ip?.src ?? '', sourcePort: transport?.sport ?? 0 },
    ...{ destination: ip?.dst ?? '', destinationPort: transport?.dport ?? 0 },
  };
  const icmp = layers.find(({ kind }) => kind === 'icmp' || kind === 'icmpv6') as Icmp | undefined;
  const kind = icmp
    ? `${icmp.kind === 'icmp' ? 'ICMP' : 'ICMPv6'} ${icmp.type}`
    : transport?.kind === 'tcp' && transport.rst
      ? 'a TCP reset'
      : (transport?.kind ?? 'packet').toUpperCase();
  if (!icmp) return { kind, ends, text: `${kind}${flagText(transport)} ${fromTo(ends)}` };
  const about = packet.embedded && describePacket(packet.embedded).text;
  const text = `${kind} from ${ends.source} to ${ends.destination}`;
  return { kind, ends, text: about === undefined ? text : `${text}, about ${about}` };
}

function flagText(transport: Layer | undefined): string {
  if (transport?.kind !== 'tcp' || transport.rst) return '';
  const set = tcpFlags.filter((flag) => (transport as Tcp)[flag]);
  return set.length === 0 ? '' : ` ${set.join('+').toUpperCase()}`;
}

export function fromTo(ends: Ends): string {
  const from = formatEndpoint(ends.source, ends.sourcePort);
  return `from ${from} to ${formatEndpoint(ends.destination, ends.destinationPort)}`;
}

function layerOf<Kind extends Layer['kind']>(layers: readonly Layer[], kind: Kind) {
  return layers.find((layer) => layer.kind === kind) as Extract<Layer, { kind: Kind }> | undefined;
}
