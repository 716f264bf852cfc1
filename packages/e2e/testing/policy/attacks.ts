import { eth, ipv4, ipv6, type Packet } from '@heddle/lab';

export type Family = 'v4' | 'v6';

/** The addresses that an attack is made of, of one family. */
export interface Scene {
  readonly family: Family;
  /** The host that sends. */
  readonly attacker: string;
  /** The pod that must not get a packet. */
  readonly victim: string;
  /** A pod of the victim's node that may send to the victim. */
  readonly friend: string;
  /** The nodes of the victim and of the others. */
  readonly nodes: readonly [victims: string, other: string];
  /** The address that all pods have as their router. */
  readonly router: string;
}

/** Packets by which a host may try to reach a pod that its policies protect. */
export interface Attack {
  readonly title: string;
  readonly packets: (scene: Scene) => readonly Packet[];
  /** True if the packets arrive where no policy is. False if nobody may send them at all. */
  readonly isOrdinary: boolean;
}

const sport = 6666;
const dport = 7777;
const ip = (src: string, dst: string, more: object = {}) =>
  src.includes(':') ? ipv6({ src, dst, ...more }) : ipv4({ src, dst, ...more });
const between = ({ attacker, victim }: Scene) => ip(attacker, victim);
const segment = (flags: object) => (scene: Scene) => [
  between(scene).tcp({ sport, dport, seq: 1000, ackSeq: 2000, ...flags }),
];
const datagram = (src: string, dst: string) => ip(src, dst).udp({ sport, dport }).payload('attack');

/** Returns fragments of a packet, cut at `at` bytes behind the IP header. */
function fragments(scene: Scene, whole: Packet, at: number): Packet[] {
  const header = scene.family === 'v4' ? 20 : 40;
  const bytes = whole.bytes.subarray(header);
  const protocol = whole.bytes[scene.family === 'v4' ? 9 : 6]!;
  const part = (offset: number, end: number, more: boolean) => {
    const content = bytes.slice(offset, end);
    const { attacker: src, victim: dst } = scene;
    return scene.family === 'v4'
      ? ipv4({ src, dst, id: 77, protocol, offset, mf: more }).payload(content)
      : ipv6({ src, dst })
          .fragmentHeader({ id: 77, offset, more, nextHeader: protocol })
          .payload(content);
  };
  return [part(0, at, true), part(at, bytes.length, false)];
}

/** Attacks that any host may try. */
export const attacks: readonly Attack[] = [
  {
    title: 'a datagram',
    packets: ({ attacker, victim }) => [datagram(attacker, victim)],
    isOrdinary: true,
  },
  { title: 'a SYN', packets: segment({ syn: true }), isOrdinary: true },
  {
    title: 'a SYN+ACK without a SYN',
    packets: segment({ syn: true, ack: true }),
    isOrdinary: true,
  },
  {
    title: 'data without a connection',
    packets: segment({ ack: true, psh: true }),
    isOrdinary: true,
  },
  {
    title: 'a FIN without a connection',
    packets: segment({ fin: true, ack: true }),
    isOrdinary: true,
  },
  { title: 'a reset without a connection', packets: segment({ rst: true }), isOrdinary: true },
  {
    title: 'an answer of DNS that nobody has asked for',
    packets: (scene) => [between(scene).udp({ sport: 53, dport }).payload('attack')],
    isOrdinary: true,
  },
  {
    title: 'an INIT and a HEARTBEAT of SCTP',
    packets: (scene) =>
      (['init', 'heartbeat'] as const).map((type) =>
        between(scene).sctp({ sport, dport, tag: 1, chunks: [{ type }] }),
      ),
    isOrdinary: true,
  },
  {
    title: 'an echo request',
    packets: (scene) => [
      scene.family === 'v4'
        ? between(scene).icmp({ type: 'echo-request', id: 6, sequence: 1 })
        : between(scene).icmpv6({ type: 'echo-request', id: 6, sequence: 1 }),
    ],
    isOrdinary: true,
  },
  {
    title: 'an echo reply without a request',
    packets: (scene) => [
      scene.family === 'v4'
        ? between(scene).icmp({ type: 'echo-reply', id: 6, sequence: 1 })
        : between(scene).icmpv6({ type: 'echo-reply', id: 6, sequence: 1 }),
    ],
    isOrdinary: true,
  },
  {
    title: 'ICMP errors about connections that were never made',
    packets: (scene) => {
      const { attacker, victim, family } = scene;
      const embedded = ip(victim, attacker).tcp({ sport: dport, dport: sport, seq: 1 });
      return family === 'v4'
        ? [
            between(scene).icmp({ type: 'port-unreachable', embedded }),
            between(scene).icmp({ type: 'fragmentation-needed', embedded, mtu: 600 }),
          ]
        : [
            between(scene).icmpv6({ type: 'port-unreachable', embedded }),
            between(scene).icmpv6({ type: 'packet-too-big', embedded, mtu: 1280 }),
          ];
    },
    isOrdinary: true,
  },
  {
    title: 'a later fragment alone',
    packets: (scene) =>
      fragments(scene, datagram(scene.attacker, scene.victim).payload(64), 24).slice(1),
    isOrdinary: true,
  },
  {
    title: 'a datagram in two fragments',
    packets: (scene) => fragments(scene, datagram(scene.attacker, scene.victim).payload(64), 24),
    isOrdinary: true,
  },
  {
    title: 'a first fragment that ends within the TCP header',
    packets: (scene) => fragments(scene, segment({ syn: true })(scene)[0]!, 8),
    isOrdinary: true,
  },
  {
    title: 'protocols without ports',
    packets: ({ attacker, victim, family }) =>
      [47, 50, 253].map((protocol) =>
        ip(attacker, victim, family === 'v4' ? { protocol } : { nextHeader: protocol }).payload(40),
      ),
    isOrdinary: true,
  },
];

/** Attacks with the addresses of others, which no policy is needed against, but exceptions of policies rely on. */
export const forgeries: readonly Attack[] = [
  {
    title: "the source of the victim's node",
    packets: ({ nodes: [node], victim }) => [datagram(node, victim)],
    isOrdinary: false,
  },
  {
    title: 'the source of a pod that the victim trusts',
    packets: ({ friend, victim }) => [datagram(friend, victim)],
    isOrdinary: false,
  },
  {
    title: 'the source of the router of all pods',
    packets: ({ router, victim }) => [datagram(router, victim)],
    isOrdinary: false,
  },
  {
    title: 'the source of the victim itself',
    packets: ({ victim }) => [datagram(victim, victim)],
    isOrdinary: false,
  },
  {
    title: 'an IP-in-IP tunnel to the nodes',
    packets: ({ attacker, nodes, friend, victim }) =>
      nodes.map((node) => {
        const inner = datagram(friend, victim).bytes;
        const protocol = victim.includes(':') ? 41 : 4;
        const outer = node.includes(':') ? { nextHeader: protocol } : { protocol };
        return ip(attacker, node, outer).payload(inner);
      }),
    isOrdinary: false,
  },
  {
    title: 'a VXLAN tunnel to the nodes',
    packets: ({ attacker, nodes: [own, other], friend, victim }) =>
      [own, other].flatMap((node) =>
        [friend, own, other].map((source) => {
          const inner = datagram(source, victim).within(
            eth({ src: '02:00:00:00:00:01', dst: '02:00:00:00:00:02' }),
          ).bytes;
          const header = Uint8Array.of(8, 0, 0, 0, 0, 0, 1, 0);
          const content = Uint8Array.from([...header, ...inner]);
          return ip(attacker, node).udp({ sport, dport: 8472 }).payload(content);
        }),
      ),
    isOrdinary: false,
  },
];
