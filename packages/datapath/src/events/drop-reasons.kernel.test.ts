import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Packet, Tcp } from '@heddle/lab';
import { addRoute } from '@heddle/netlink';
import {
  clients,
  type End,
  externals,
  NodePackets,
  packetHooks,
  xdpOf,
} from '../../testing/node-packets.ts';
import { numbered } from '../../testing/numbered.ts';
import { sizes, World } from '../../testing/world.ts';
import { dropReasonText } from '../core/drop-reasons.ts';
import { dropReason } from '../generated/abi.ts';
import { defaultNat } from '../nat/flow-options.ts';

/** Reasons that only pods have; pods/ and policy/ have their tests. */
const podReasons = [
  'horizon',
  'rateLimited',
  'masqueradeProtocol',
  'l3Protocol',
  'multicast',
  'tunnel',
  'policy',
  'policyDefault',
] as const;
type Reason = Exclude<keyof typeof dropReason, (typeof podReasons)[number]>;

/** Packets that are dropped for one reason, once. */
interface Cause {
  /** A datapath of its own, where a limit is to be reached. */
  readonly options?: ConstructorParameters<typeof World>[2];
  readonly happens: (stage: Stage) => void;
}

/** A node with a service at a load balancer's address and one at a NodePort. */
class Stage {
  readonly packets: NodePackets;
  readonly client: string;
  readonly external: string;
  readonly local: string;
  readonly remote: string;
  #sport = 20_000;

  constructor(world: World, end: End) {
    this.packets = new NodePackets(world, end);
    this.client = clients[end];
    this.external = externals[end];
    this.local = world.pod(0).addresses[end];
    this.remote = world.lab.nodes[1]!.pods[0]!.addresses[end];
  }

  /** A service at the load balancer's address with backends of that address. */
  serve(
    port: number,
    backend: string | undefined,
    more: Parameters<NodePackets['service']>[2] = {},
  ): void {
    const frontend = { kind: 'LoadBalancer', address: this.external } as const;
    const backends = backend === undefined ? [] : [backend];
    this.packets.world.apply(this.packets.service(port, backends, { frontend, ...more }));
  }

  from(more: { ttl?: number; df?: boolean } = {}): Packet {
    return this.packets.from(this.client, this.external, more);
  }

  /** Returns a SYN from the client. Each call uses another source port. */
  syn(dport: number, more: { ttl?: number } = {}): Packet {
    return this.from(more).tcp({ sport: ++this.#sport, dport, syn: true });
  }

  datagram(dport: number): Packet {
    return this.from()
      .udp({ sport: ++this.#sport, dport })
      .payload('question');
  }

  /** Opens a connection that both sides confirm, so that no other one evicts it. */
  connect(dport: number): void {
    const syn = this.syn(dport);
    const here = this.from().tcp({ sport: this.#sport, dport, ...numbered({ ack: true }) });
    const { verdict, packet } = this.packets.ingress(syn);
    assert.equal(verdict, 'send');
    const ip = packet.layer('ipv4') ?? packet.layer('ipv6')!;
    const back = { sport: 8080, dport: packet.layer('tcp')!.sport };
    const there = (flags: Partial<Tcp>) =>
      this.packets.from(ip.dst, ip.src).tcp({ ...back, ...numbered(flags) });
    for (const answer of [there({ syn: true, ack: true }), there({ ack: true }).payload('hello')]) {
      const isLocal = ip.dst === this.local;
      const back = isLocal ? this.packets.egress(answer) : this.packets.ingress(answer);
      assert.equal(back.verdict, isLocal ? 'pass' : 'send');
      assert.equal(this.enters(here), 'send');
    }
  }

  enters(packet: Packet | Uint8Array): string {
    return this.packets.ingress(packet).verdict;
  }
}

/** The packets that cause each reason. A new reason needs an entry here. */
const causes: Readonly<Record<Reason, Cause>> = {
  invalid: {
    happens(stage) {
      stage.serve(1, stage.remote);
      const { bytes } = stage.syn(1);
      assert.equal(stage.enters(bytes.subarray(0, bytes.length - 17)), 'drop');
    },
  },
  invalidSource: {
    happens(stage) {
      stage.serve(17, stage.remote);
      const { end, node } = stage.packets;
      const own = stage.packets.from(node, stage.external);
      assert.equal(stage.enters(own.tcp({ sport: 5, dport: 17, syn: true })), 'drop', end);
    },
  },
  tooLarge: {
    happens(stage) {
      stage.serve(2, stage.remote, { protocol: 'UDP' });
      const large = stage.from({ df: true }).udp({ sport: 5, dport: 2 }).payload(1600);
      assert.equal(stage.enters(large), 'send', 'the sender gets an ICMP error');
    },
  },
  write: {
    happens(stage) {
      stage.serve(4, stage.remote, { protocol: 'SCTP' });
      const init = { type: 'init', value: new Uint8Array(100) } as const;
      const whole = stage.from().sctp({ sport: 5, dport: 4, tag: 0, chunks: [init] });
      // The checksum covers the whole packet, whose length its first fragment doesn't have.
      const [first] = whole.fragments([64, 64]);
      assert.equal(stage.enters(first!), 'drop');
    },
  },
  protocol: {
    happens(stage) {
      stage.serve(5, stage.remote);
      const { end } = stage.packets;
      const odd =
        end === 'v4'
          ? stage.from().with('ipv4', { protocol: 99 })
          : stage.from().with('ipv6', { nextHeader: 99 });
      assert.equal(stage.enters(odd.payload(20)), 'drop');
    },
  },
  unknownPort: {
    happens(stage) {
      stage.serve(6, stage.remote);
      assert.equal(stage.enters(stage.syn(60)), 'drop');
    },
  },
  notLocal: {
    happens(stage) {
      stage.serve(7, undefined, { scope: 'outside', silent: true });
      assert.equal(stage.enters(stage.syn(7)), 'drop');
    },
  },
  tableFull: {
    options: { sizes: { ...sizes, flows: 4 } },
    happens(stage) {
      stage.serve(8, stage.local);
      // Both sides confirm these connections, so that none of them is evicted.
      for (let i = 0; i < 3; i++) stage.connect(8);
      assert.equal(stage.enters(stage.syn(8)), 'drop');
    },
  },
  extensionHeader: {
    happens(stage) {
      stage.serve(9, stage.remote, { protocol: 'UDP' });
      const headers = (count: number) => {
        let packet = stage.packets.from(clients.v6, externals.v6);
        for (let i = 0; i < count; i++) packet = packet.extension('destination-options');
        return packet.udp({ sport: 5, dport: 9 }).payload('question');
      };
      assert.equal(stage.enters(headers(6)), 'drop');
    },
  },
  fragment: {
    happens(stage) {
      stage.serve(10, stage.remote, { protocol: 'UDP' });
      // The first one comes to nothing: there is no flow that the later one could go on with.
      const whole = stage.from({ ttl: 64 }).udp({ sport: 5, dport: 10 }).payload(100);
      const [first, later] = whole.fragments([56, 56], 77);
      stage.packets.ingress(first!);
      stage.packets.world.datapath.services.remove([
        stage.packets.service(10, [], { protocol: 'UDP', frontend: { address: stage.external } })
          .key,
      ]);
      stage.serve(10, undefined, { protocol: 'UDP' });
      assert.equal(stage.enters(later!), 'drop');
    },
  },
  noBackend: {
    happens(stage) {
      stage.serve(11, undefined);
      assert.equal(stage.enters(stage.syn(11)), 'send', 'a reset');
    },
  },
  noFlow: {
    happens(stage) {
      stage.serve(12, stage.remote);
      const stray = stage.from().tcp({ sport: 5, dport: 12, ack: true, ackSeq: 77 });
      assert.equal(stage.enters(stray), 'send', 'a reset');
    },
  },
  noPort: {
    options: { nat: { ...defaultNat, ports: { first: 5000, last: 5000 } } },
    happens(stage) {
      stage.serve(13, stage.remote);
      stage.connect(13);
      assert.equal(stage.enters(stage.syn(13)), 'drop');
    },
  },
  noRoute: {
    happens(stage) {
      const { end, world } = stage.packets;
      const [address, bits] = end === 'v4' ? ['192.0.2.250', 32] : ['fd00:192:0:2::250', 128];
      world.node.configure((socket) =>
        addRoute(socket, { destination: `${address}/${bits}`, type: 'unreachable' }),
      );
      stage.serve(14, address);
      assert.equal(stage.enters(stage.syn(14)), 'drop');
    },
  },
  sourceRange: {
    happens(stage) {
      stage.serve(15, stage.remote, { sourceRanges: ['198.18.1.0/24', 'fd00:198:18:1::/64'] });
      assert.equal(stage.enters(stage.syn(15)), 'drop');
    },
  },
  ttl: {
    happens(stage) {
      stage.serve(16, stage.remote);
      assert.equal(stage.enters(stage.syn(16, { ttl: 1 })), 'drop');
    },
  },
};

const reasons = Object.keys(causes) as Reason[];
/** IPv4 has no extension headers. */
const onlyIpv6: readonly Reason[] = ['extensionHeader'];

test('each drop reason of abi.h is produced by a packet of this file', () => {
  assert.deepEqual([...reasons, ...podReasons].sort(), Object.keys(dropReason).sort());
});

for (const packetHook of packetHooks) {
  for (const end of ['v4', 'v6'] as const satisfies End[]) {
    describe(`each reason to drop a packet, by ${packetHook}, ${end}`, () => {
      const open = (name: string, options: Cause['options'] = {}) => {
        const world = new World(name, 1, {
          lab: { nodes: 2 },
          mirrored: true,
          xdp: xdpOf(packetHook),
          ...options,
        });
        world.serveOutside();
        return world;
      };
      let shared: World;
      before(() => {
        shared = open('reasons');
      });
      after(() => shared?.[Symbol.dispose]());

      for (const reason of reasons) {
        if (end === 'v4' && onlyIpv6.includes(reason)) continue;
        const { options, happens } = causes[reason];
        const words = dropReasonText(dropReason[reason]);
        test(words, () => {
          using own = options && open('limited', options);
          const stage = new Stage(own ?? shared, end);
          const counted = stage.packets.drops(() => happens(stage));
          assert.deepEqual(counted, { [words]: 1 });
        });
      }
    });
  }
}
