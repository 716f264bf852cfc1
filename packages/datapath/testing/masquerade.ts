import { assertPacket, eth, type Packet, Packet as Packets } from '@heddle/lab';
import { dropReasonText } from '../src/core/drop-reasons.ts';
import { dropReason } from '../src/generated/abi.ts';
import { podGatewayMac } from '../src/pods/pod-tables.ts';
import { type End, NodePackets, type Outcome } from './node-packets.ts';
import type { PodWorld } from './pod-world.ts';

export const outside = { v4: '203.0.113.77', v6: 'fd00:203:0:113::77' } as const;
export const others = { v4: '203.0.113.78', v6: 'fd00:203:0:113::78' } as const;
export const excluded = { v4: '203.0.113.200', v6: 'fd00:203:0:113::200' } as const;

export const masqueradedProtocols = ['tcp', 'udp', 'icmp', 'sctp'] as const;
export type MasqueradedProtocol = (typeof masqueradedProtocols)[number];

const verdicts: Readonly<Record<number, Outcome['verdict']>> = {
  4294967295: 'pass',
  2: 'drop',
  7: 'send',
};

/** The two ends of a connection of a pod to the outside. `port` is the identifier of an ICMP echo. */
export interface PodConnection {
  readonly protocol: MasqueradedProtocol;
  readonly pod: number;
  readonly port: number;
  readonly to: string;
  readonly toPort: number;
}

/** Test-runs the programs with packets of pods to the outside, and with what returns. */
export class MasqueradeStage {
  readonly world: PodWorld;
  readonly end: End;
  readonly node: NodePackets;

  constructor(world: PodWorld, end: End) {
    this.world = world;
    this.end = end;
    this.node = new NodePackets(world, end);
    world.serveOutside();
    this.masquerade();
  }

  /** Has both families masqueraded, but for some destinations. */
  masquerade(): void {
    const pods = this.world.lab.pods.map(({ addresses }) => addresses);
    this.world.datapath.nodeRoutes.setMasquerade({
      ipv4: true,
      ipv6: true,
      exclusions: [
        ...[`${excluded.v4}/32`, `${excluded.v6}/128`],
        ...pods.flatMap(({ v4, v6 }) => [`${v4}/32`, `${v6}/128`]),
      ],
    });
  }

  /** Opens the datapath again, as the next agent does. */
  restart(): void {
    this.world.restart();
    this.world.servePods();
    this.world.serveOutside();
    this.masquerade();
  }

  podAddress(pod: number): string {
    return this.world.pod(pod).addresses[this.end];
  }

  /** Returns a frame with an IP header from a pod. */
  fromPod(
    pod: number,
    dst: string,
    more: { ttl?: number; df?: boolean; src?: string } = {},
  ): Packet {
    const { src = this.podAddress(pod), ttl = 64, ...rest } = more;
    const frame = eth({ src: this.world.of(this.world.pod(pod)).mac, dst: podGatewayMac });
    return this.end === 'v4'
      ? frame.ipv4({ src, dst, ttl, ...rest })
      : frame.ipv6({ src, dst, hopLimit: ttl });
  }

  /** Runs the program of a pod's interface; `change` may change the bytes of the frame before. */
  send(pod: number, packet: Packet, change: (bytes: Uint8Array) => void = () => {}): Outcome {
    const { ifindex } = this.world.of(this.world.pod(pod));
    const gateway = this.world.node.link(this.world.pod(pod).nodeLink).address;
    // The kernel takes the type of a frame from the link address of the interface.
    const data = packet.with('eth', { dst: gateway }).bytes;
    change(data);
    const context = new Uint8Array(44);
    new DataView(context.buffer).setUint32(40, ifindex, true);
    const program = this.world.datapath.programs.pod!.program('from_pod');
    const result = this.world.node.enter(() =>
      program.testRun({ data, context, contextRoom: 192 }),
    );
    const verdict = verdicts[result.returnValue];
    if (!verdict) throw new Error(`run from_pod: it returned ${result.returnValue}`);
    return { verdict, packet: Packets.parse(result.data) };
  }

  /** Returns the transport header and payload of a connection's packet in one direction, on `ip`. */
  on(ip: Packet, { protocol, port, toPort }: PodConnection, isReply = false, size = 8): Packet {
    const [sport, dport] = isReply ? [toPort, port] : [port, toPort];
    switch (protocol) {
      case 'tcp':
        return isReply
          ? ip.tcp({ sport, dport, syn: true, ack: true, seq: 2000, ackSeq: 1001 })
          : ip.tcp({ sport, dport, syn: true, seq: 1000 });
      case 'udp':
        return ip.udp({ sport, dport }).payload(size);
      case 'sctp':
        return ip.sctp({
          ...{ sport, dport, tag: isReply ? 7 : 0 },
          chunks: [{ type: isReply ? 'init-ack' : 'init', value: new Uint8Array(16) }],
        });
      case 'icmp': {
        const fields = {
          type: isReply ? 'echo-reply' : 'echo-request',
          id: port,
          sequence: 1,
        } as const;
        return (this.end === 'v4' ? ip.icmp(fields) : ip.icmpv6(fields)).payload(size);
      }
    }
  }

  /** Returns a packet of a connection as its pod sends it. */
  request(
    connection: PodConnection,
    more: { ttl?: number; df?: boolean; size?: number } = {},
  ): Packet {
    const { size, ...rest } = more;
    return this.on(this.fromPod(connection.pod, connection.to, rest), connection, false, size);
  }

  /** Sends a connection's first packet, and returns the port that the destination sees. */
  begin(connection: PodConnection): number {
    const outcome = this.send(connection.pod, this.request(connection));
    if (outcome.verdict !== 'send') throw new Error(`begin: ${outcome.verdict}`);
    return this.seenPort(outcome.packet);
  }

  seenPort(packet: Packet): number {
    const ports = packet.layer('tcp') ?? packet.layer('udp') ?? packet.layer('sctp');
    const echo = packet.layer('icmp') ?? packet.layer('icmpv6');
    return ports?.sport ?? echo!.id!;
  }

  /** Returns a connection's packet as the destination gets it, without its frame. */
  masqueraded(connection: PodConnection, port: number, size?: number): Packet {
    const ip = this.node.to(this.node.node, connection.to, { ttl: 63 });
    return this.node.bare(this.on(ip, { ...connection, port }, false, size));
  }

  /** Returns the destination's reply as it reaches the node. */
  reply(connection: PodConnection, port: number, from = connection.to, size?: number): Packet {
    return this.on(this.node.from(from, this.node.node), { ...connection, port }, true, size);
  }

  /** Returns the destination's reply as the pod gets it, without its frame. */
  delivered(connection: PodConnection, size?: number): Packet {
    const ip = this.node.from(connection.to, this.podAddress(connection.pod), { ttl: 63 });
    return this.node.bare(this.on(ip, connection, true, size));
  }

  /** Demands that a packet is sent with this content. */
  expectSent(outcome: Outcome, wanted: Packet, what: string): void {
    if (outcome.verdict !== 'send')
      throw new Error(`${what}: ${outcome.verdict}, ${outcome.packet}`);
    assertPacket(this.node.bare(outcome.packet).bytes, wanted, what);
  }

  /** Returns the number of drops for each reason that `work` causes. */
  drops(work: () => void): Partial<Record<keyof typeof dropReason, number>> {
    const byText = this.node.drops(work);
    const names = Object.keys(dropReason) as (keyof typeof dropReason)[];
    return Object.fromEntries(
      names.flatMap((name) => {
        const count = byText[dropReasonText(dropReason[name])];
        return count === undefined ? [] : [[name, count]];
      }),
    );
  }
}
