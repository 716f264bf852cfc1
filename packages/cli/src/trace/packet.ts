import { eth, type Icmp, type Layer, Packet } from '@heddle/lab';
import { formatEndpoint } from '@heddle/sys';

/** A port that clients choose from themselves (RFC 6335, 6). */
const clientPort = 50_123;
/** Locally administered: the router behind the device. */
const routerMac = '02:00:00:00:00:fe';

/** The packets that a trace sends, and what is to be said of those that come of it. */
export const Packets = {
  /** The first packet of a connection, as it enters by a device. */
  from(
    mac: string,
    source: string,
    address: string,
    port: number,
    protocol: 'tcp' | 'udp',
  ): Uint8Array {
    const frame = eth({ src: routerMac, dst: mac });
    const packet = address.includes(':')
      ? frame.ipv6({ src: source, dst: address })
      : frame.ipv4({ src: source, dst: address });
    const ends = { sport: clientPort, dport: port };
    return protocol === 'tcp'
      ? packet.tcp({ ...ends, syn: true }).bytes
      : packet.udp(ends).payload('trace').bytes;
  },

  describe(bytes: Uint8Array): { kind: string; text: string; address: string; port: number } {
    const { layers } = Packet.parse(bytes);
    const ip = layerOf(layers, 'ipv4') ?? layerOf(layers, 'ipv6');
    const tcp = layerOf(layers, 'tcp');
    const transport = tcp ?? layerOf(layers, 'udp');
    const [address, port] = [ip?.dst ?? '', transport?.dport ?? 0];
    const icmp = layers.find(({ kind }) => kind === 'icmp' || kind === 'icmpv6') as
      | Icmp
      | undefined;
    const kind = icmp
      ? `${icmp.kind === 'icmp' ? 'ICMP' : 'ICMPv6'} ${icmp.type}`
      : tcp
        ? tcp.rst
          ? 'a TCP reset'
          : 'TCP'
        : 'UDP';
    const from = formatEndpoint(ip?.src ?? '', transport?.sport ?? 0);
    const text = icmp
      ? `${kind} from ${ip?.src} to ${address}`
      : `${kind} from ${from} to ${formatEndpoint(address, port)}`;
    return { kind, text, address, port };
  },
};

function layerOf<Kind extends Layer['kind']>(layers: readonly Layer[], kind: Kind) {
  return layers.find((layer) => layer.kind === kind) as Extract<Layer, { kind: Kind }> | undefined;
}
