import { after, before, describe } from 'node:test';
import { eth, type LabPod, type Packet } from '@heddle/lab';
import { type End, NodePackets, type Outcome } from './node-packets.ts';
import { PodWorld } from './pod-world.ts';

/** A frame to every host of its link. */
export const broadcastMac = 'ff:ff:ff:ff:ff:ff';

/** Two nodes with pods whose packets are test-run at their interfaces on the first one. */
export class PodStage {
  readonly end: End;
  world!: PodWorld;
  packets!: NodePackets;

  constructor(end: End) {
    this.end = end;
  }

  open(world: PodWorld): void {
    this.world = world;
    world.serveOutside();
    const other = { key: 'node2', addresses: [this.peer], ranges: [], paths: [], problems: [] };
    world.datapath.nodeRoutes.set(other);
    this.packets = new NodePackets(world, this.end);
  }

  pod(number: number): LabPod {
    return this.world.pod(number);
  }

  /** Returns the address of a pod of the node. */
  at(number: number): string {
    return this.pod(number).addresses[this.end];
  }

  /** Returns the address of a pod of the other node. */
  get remote(): string {
    return this.world.lab.nodes[1]!.pods[0]!.addresses[this.end];
  }

  /** Returns the address of the other node. */
  get peer(): string {
    return this.world.lab.nodes[1]!.addresses[this.end];
  }

  /** Returns the frame that the first pod sends to its node. */
  get frame(): Packet {
    const pod = this.pod(0);
    return eth({ src: pod.link('eth0').address, dst: this.world.node.link(pod.nodeLink).address });
  }

  /** Returns a packet of the first pod, up to its IP header. */
  to(dst: string, { src = this.at(0), ttl = 64, df }: IpFields = {}): Packet {
    return this.end === 'v4'
      ? this.frame.ipv4({ src, dst, ttl, ...(df ? { df } : {}) })
      : this.frame.ipv6({ src, dst, hopLimit: ttl });
  }

  datagram(dst: string, fields: IpFields & { dport?: number } = {}): Packet {
    const { dport = 5000 } = fields;
    return this.to(dst, fields).udp({ sport: 4000, dport }).payload('hello');
  }

  /** Runs the program at the interface of a pod, the first one unless said otherwise. */
  send(packet: Packet | Uint8Array, number = 0): Outcome {
    const { index } = this.world.node.link(this.pod(number).nodeLink);
    return this.packets.run('from_pod', packet, index);
  }
}

interface IpFields {
  readonly src?: string;
  readonly ttl?: number;
  readonly df?: boolean;
}

/** Describes packets of pods over both families, in the kernel and in the userspace machine. */
export function podSuite(title: string, name: string, define: (stage: PodStage) => void): void {
  for (const end of ['v4', 'v6'] as const satisfies End[]) {
    describe(`${title}, ${end}`, () => {
      const stage = new PodStage(end);
      before(() => {
        stage.open(new PodWorld(`${name}-${end}`, 3, { lab: { nodes: 2 }, mirrored: true }));
      });
      after(() => stage.world?.[Symbol.dispose]());
      define(stage);
    });
  }
}
