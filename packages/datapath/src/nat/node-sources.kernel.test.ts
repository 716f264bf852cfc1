// Sources that the kernel drops when it forwards: translated packets never meet its checks, so the programs
// drop them themselves, before they keep anything about the packet.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { eth, type Packet } from '@heddle/lab';
import { addRoute, createBridge, findLink } from '@heddle/netlink';
import { clients, contextOf, type End, externals } from '../../testing/node-packets.ts';
import { packetSuite } from '../../testing/packet-suite.ts';
import { dropReasonText } from '../core/drop-reasons.ts';
import { dropReason } from '../generated/abi.ts';

const forged = dropReasonText(dropReason.invalidSource);

/** Addresses that no packet on a link comes from. */
const martians: Readonly<Record<End, readonly string[]>> = {
  v4: [
    '0.0.0.0',
    '0.1.2.3',
    '127.0.0.1',
    '127.8.8.8',
    '224.0.0.1',
    '239.255.255.250',
    '255.255.255.255',
  ],
  v6: ['::', '::1', 'ff02::1', 'ff0e::1', 'fe80::1', 'febf::1', '::ffff:cb00:714d'],
};
/** Next to those, and fine. */
const neighbours: Readonly<Record<End, readonly string[]>> = {
  v4: ['1.0.0.1', '126.255.255.255', '128.0.0.1', '223.255.255.255', '240.0.0.1'],
  v6: ['::2', 'fec0::1', 'fe00::1', '64:ff9b::cb00:714d', '::fffe:cb00:714d'],
};

packetSuite('sources of packets', { name: 'sources', pods: 2 }, (stage) => {
  const { end } = stage;
  let sport = 20_000;
  before(() => {
    for (const protocol of ['TCP', 'UDP', 'SCTP'] as const) {
      stage.world.apply(
        stage.packets.service(30_001, [stage.local], { protocol, key: `near ${protocol}` }),
        stage.packets.service(30_002, [stage.remote], { protocol, key: `far ${protocol}` }),
        stage.packets.service(30_003, [], { protocol, key: `nobody ${protocol}` }),
      );
    }
    const frontend = { kind: 'LoadBalancer', address: externals[end] } as const;
    stage.world.apply(stage.packets.service(80, [stage.remote], { frontend, key: 'external' }));
  });

  /** First packets of each protocol. */
  const firsts: Readonly<Record<string, (header: Packet, dport: number) => Packet>> = {
    TCP: (header, dport) => header.tcp({ sport: ++sport, dport, syn: true }),
    UDP: (header, dport) => header.udp({ sport: ++sport, dport }).payload('question'),
    SCTP: (header, dport) => {
      const init = { type: 'init', value: new Uint8Array(20) } as const;
      return header.sctp({ sport: ++sport, dport, tag: 0, chunks: [init] });
    },
  };
  const echo = (src: string) => {
    const header = stage.packets.from(src, externals[end]);
    const fields = { type: 'echo-request', id: 1, sequence: 1 } as const;
    return (end === 'v4' ? header.icmp(fields) : header.icmpv6(fields)).payload('ping');
  };
  const ofThisNode = () => [
    stage.packets.node,
    ...stage.world.node.pods.map((pod) => pod.addresses[end]),
    ...(end === 'v4' ? ['192.0.2.255', '169.254.1.1'] : []),
  ];
  const isDropped = (packet: Packet, verdict = stage.packets.ingress(packet).verdict) =>
    assert.equal(verdict, 'drop', `${packet}`);
  const flows = () => [...stage.world.datapath.nat.flows()].length;
  const allDropped = (list: readonly Packet[]) => {
    const before = flows();
    const counted = stage.packets.drops(() => {
      for (const packet of list) isDropped(packet);
    });
    assert.deepEqual(counted, { [forged]: list.length });
    assert.equal(flows(), before);
  };

  for (const [protocol, first] of Object.entries(firsts)) {
    test(`a ${protocol} packet from an invalid source address creates no flow`, () => {
      allDropped(
        [...martians[end], ...ofThisNode()].flatMap((src) =>
          [30_001, 30_002, 30_003].map((dport) =>
            first(stage.packets.from(src, stage.packets.node), dport),
          ),
        ),
      );
    });

    test(`a ${protocol} packet from a valid source address creates a flow`, () => {
      const others = [stage.peer, stage.remote, stage.client];
      // Addresses beside the martians, to which the default route leads.
      for (const src of [...neighbours[end], ...others]) {
        const packet = first(stage.packets.from(src, stage.packets.node), 30_002);
        assert.equal(stage.packets.ingress(packet).verdict, 'send', `${packet}`);
      }
    });
  }

  test('a first fragment from an invalid source address creates no flow', () => {
    allDropped(
      [...martians[end], ...ofThisNode()].map((src, i) => {
        const whole = stage.packets.from(src, stage.packets.node).udp({ sport: 7, dport: 30_001 });
        return whole.payload(2000).fragments([1000], i)[0]!;
      }),
    );
  });

  test('packets from an invalid source address get no answer', () => {
    const stray = (src: string) =>
      stage.packets.from(src, externals[end]).tcp({ sport: 7, dport: 80, ack: true, ackSeq: 9 });
    allDropped([...martians[end], ...ofThisNode()].flatMap((src) => [echo(src), stray(src)]));
    assert.equal(stage.packets.ingress(echo(clients[end])).verdict, 'send');
    assert.equal(stage.packets.ingress(stray(clients[end])).verdict, 'send');
  });

  if (end === 'v6') {
    test('an IPv6 packet to an IPv4-mapped address reaches no IPv4 service', () => {
      const { v4 } = stage.world.node.addresses;
      const frontend = { kind: 'NodePort', address: v4 } as const;
      stage.world.apply(
        stage.packets.service(30_004, [stage.world.pod(0).addresses.v4], { frontend, key: 'v4' }),
      );
      allDropped([firsts.TCP!(stage.packets.from(clients.v6, `::ffff:${v4}`), 30_004)]);
    });
  }

  test('tunnelled packets from an invalid source address are dropped', () => {
    stage.world.datapath.nat.setTunnelEnds({ peers: [stage.peer], own: [stage.packets.node] });
    const frontend = { address: end === 'v4' ? '0.0.0.0' : '::' };
    stage.world.apply(
      stage.packets.service(30_005, [stage.local], { frontend, forwarding: 'dsr', key: 'dsr' }),
    );
    const inTunnel = (src: string) => {
      const { src: from, dst: to } = stage.packets.from(src, stage.peer).layer('eth')!;
      const outer = eth({ src: from!, dst: to! });
      return firsts.TCP!(stage.packets.from(src, stage.peer), 30_005).within(
        end === 'v4'
          ? outer.ipv4({ src: stage.peer, dst: stage.local, df: true })
          : outer.ipv6({ src: stage.peer, dst: stage.local }),
      );
    };
    allDropped([...martians[end], ...ofThisNode()].map(inTunnel));
    assert.equal(stage.packets.ingress(inTunnel(clients[end])).verdict, 'send');
  });

  test('a client behind another external interface is accepted', () => {
    const client = end === 'v4' ? '198.51.100.200' : 'fd00:198:51:100::200';
    stage.world.node.configure((socket) => {
      createBridge(socket, { name: 'out1', up: true });
      const link = findLink(socket, 'out1')!.index;
      addRoute(socket, { destination: `${client}/${end === 'v4' ? 32 : 128}`, link });
    });
    const packet = firsts.UDP!(stage.packets.from(client, stage.packets.node), 30_002);
    allDropped([packet]);
    const { v4, v6 } = stage.world.node.addresses;
    stage.world.node.enter(() =>
      stage.world.datapath.setNode(
        [stage.world.node.link('eth0'), stage.world.node.link('out1')],
        [v4, v6],
      ),
    );
    assert.equal(stage.packets.ingress(packet).verdict, 'send');
    stage.world.serveOutside();
  });

  test('a pod cannot use addresses of nodes, broadcast addresses or martians', () => {
    const pod = stage.world.node.pods[0]!;
    const device = stage.world.node.link(pod.nodeLink);
    const { v4, v6 } = stage.world.node.addresses;
    const [eth0] = [stage.world.node.link('eth0')];
    const into = (src: string) => {
      const frame = eth({ src: pod.link('eth0').address, dst: device.address });
      const dst = stage.packets.node;
      const header = end === 'v4' ? frame.ipv4({ src, dst }) : frame.ipv6({ src, dst });
      const data = firsts.TCP!(header, 30_002).bytes;
      const options = { data, ...contextOf('node_ingress', device.index, data) };
      return stage.world.node.enter(
        () =>
          stage.world.datapath.programs.node.program('node_ingress').testRun(options).returnValue,
      );
    };
    stage.world.node.enter(() =>
      stage.world.datapath.setNode([eth0, { ...device, pods: true }], [v4, v6]),
    );
    const drop = 2;
    const own = end === 'v4' ? [stage.packets.node, '192.0.2.255'] : [stage.packets.node];
    for (const src of [...martians[end], ...own]) assert.equal(into(src), drop, src);
    assert.notEqual(into(pod.addresses[end]), drop);
    stage.world.serveOutside();
  });
});
