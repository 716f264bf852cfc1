import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { attachXdp, BpfLink } from '@heddle/ebpf';
import type { Packet } from '@heddle/lab';
import { addNeighbour, createBridge, removeNeighbour } from '@heddle/netlink';
import { SysError } from '@heddle/sys';
import { eventually } from '@heddle/sys/testing/eventually';
import { clients, type End, externals, NodePackets } from '../../testing/node-packets.ts';
import { loadPass } from '../../testing/port-xdp.ts';
import { World } from '../../testing/world.ts';
import { currentPins } from '../core/pinned-maps.ts';
import type { XdpMode } from './xdp-devices.ts';

const ends = ['v4', 'v6'] as const satisfies End[];

for (const end of ends) {
  describe(`translation by XDP, ${end}`, () => {
    let world: World;
    let packets: NodePackets;
    let local: string;
    let remote: string;
    let sport = 20_000;
    before(() => {
      world = new World(`xdp-${end}`, 1, { lab: { nodes: 2 }, mirrored: true, xdp: 'native' });
      world.serveOutside();
      packets = new NodePackets(world, end);
      local = world.pod(0).addresses[end];
      remote = world.lab.nodes[1]!.pods[0]!.addresses[end];
      world.apply(
        packets.service(30_001, [remote], { key: 'tcp' }),
        packets.service(30_001, [remote], { protocol: 'UDP', key: 'udp' }),
        packets.service(30_001, [remote], { protocol: 'SCTP', key: 'sctp' }),
        packets.service(30_002, [local], { key: 'here' }),
        packets.service(30_003, [], { key: 'nobody' }),
      );
    });
    after(() => world?.[Symbol.dispose]());

    const from = (more: { ttl?: number; df?: boolean } = {}) =>
      packets.from(clients[end], packets.node, more);
    const syn = (dport = 30_001) => from().tcp({ sport: ++sport, dport, syn: true });
    const datagram = (payload: string | number = 'question') =>
      from().udp({ sport: ++sport, dport: 30_001 }).payload(payload);

    test('XDP translates packets to a remote backend and its replies, of every protocol', () => {
      const init = { type: 'init', value: new Uint8Array(20) } as const;
      const ack = { type: 'init-ack', value: new Uint8Array(20) } as const;
      const answers: [Packet, (header: Packet, port: number) => Packet][] = [
        [syn(), (header, dport) => header.tcp({ sport: 8080, dport, syn: true, ack: true })],
        [datagram(), (header, dport) => header.udp({ sport: 8080, dport }).payload('answer')],
        [
          from().sctp({ sport: 5, dport: 30_001, tag: 0, chunks: [init] }),
          (header, dport) => header.sctp({ sport: 8080, dport, tag: 1, chunks: [ack] }),
        ],
      ];
      for (const [question, answer] of answers) {
        const away = packets.xdp(question);
        assert.equal(away.verdict, 'send');
        assert.doesNotMatch(`${away.packet}`, /WRONG/);
        const { sport: port } = away.packet.layers.find((layer) => 'sport' in layer)!;
        const back = packets.xdp(answer(packets.from(remote, packets.node), port));
        assert.equal(back.verdict, 'send');
        assert.doesNotMatch(`${back.packet}`, /WRONG/);
        assert.ok(`${back.packet}`.includes(`${packets.node} > ${clients[end]} `));
      }
    });

    test('XDP tunnels packets of services with dsr', () => {
      const peer = world.lab.nodes[1]!.addresses[end];
      world.datapath.nat.setTunnelEnds({ peers: [peer], own: [packets.node] });
      const tunnelled = { protocol: 'UDP', forwarding: 'dsr', key: 'dsr' } as const;
      world.apply(packets.service(30_004, [remote], tunnelled));
      const question = from({ ttl: 9 }).udp({ sport: 4000, dport: 30_004 }).payload('question');
      const { verdict, packet } = packets.xdp(question);
      assert.equal(verdict, 'send');
      assert.deepEqual(packet.bytes, packets.ingressByTc(question).packet.bytes);
      assert.ok(`${packet}`.includes(`${packets.node} > ${remote} `));
      assert.ok(`${packet}`.includes(`${clients[end]} > ${packets.node} `));
    });

    test('XDP and tc translate packets alike', () => {
      for (const packet of [datagram(), datagram(1), datagram(1400), syn()]) {
        const early = packets.xdp(packet);
        const { verdict, packet: late } = packets.ingressByTc(packet);
        assert.deepEqual([early.verdict, verdict], ['send', 'send']);
        assert.deepEqual(early.packet.bytes, late.bytes);
      }
    });

    test('tc continues flows that XDP creates for local backends', () => {
      const packet = syn(30_002);
      const before = [...world.datapath.nat.flows()].length;
      assert.equal(packets.xdp(packet).verdict, 'pass');
      assert.equal(packets.ingressByTc(packet).verdict, 'send');
      assert.equal([...world.datapath.nat.flows()].length, before + 1);
    });

    test('XDP drops and counts floods', () => {
      const external = externals[end];
      world.apply(
        packets.service(99, [remote], {
          frontend: { kind: 'LoadBalancer', address: external },
          sourceRanges: ['198.18.1.0/24', 'fd00:198:18:1::/64'],
          key: 'ranges',
        }),
      );
      const to = (dport: number) =>
        packets.from(clients[end], external).tcp({ sport: ++sport, dport, syn: true });
      const counted = packets.drops(() => {
        assert.equal(packets.xdp(to(99)).verdict, 'drop');
        assert.equal(packets.xdp(to(98)).verdict, 'drop');
      });
      assert.deepEqual(Object.values(counted), [1, 1]);
    });

    const left: readonly (readonly [string, () => Packet])[] = [
      ['a frame for another station', () => datagram().with('eth', { dst: '02:00:00:00:99:99' })],
      ['a multicast frame', () => datagram().with('eth', { dst: '01:00:5e:00:00:01' })],
      ['a fragment', () => datagram(2000).fragments([1000], 7)[0]!],
      [
        'a checksum that is left to the device',
        () => datagram().with('udp', { checksum: 'partial' }),
      ],
      ['a hop too many', () => from({ ttl: 1 }).udp({ sport: 9, dport: 30_001 }).payload('x')],
      ['one too large for the link', () => datagram(1600)],
      ['a port of a service without backends', () => syn(30_003)],
      ['a port of the node’s own', () => syn(22)],
      ['a segment of no flow', () => from().tcp({ sport: 9, dport: 30_001, ack: true })],
      [
        'what is addressed to others',
        () => packets.from(clients[end], remote).udp({ sport: 9, dport: 9 }),
      ],
    ];
    for (const [what, packet] of left) {
      test(`XDP passes ${what} unchanged`, () => {
        const counted = packets.drops(() => assert.equal(packets.xdp(packet()).verdict, 'pass'));
        assert.deepEqual(counted, {}, 'who drops it counts it');
      });
    }

    test('XDP passes packets to an unresolved neighbour', async () => {
      const packet = datagram();
      assert.equal(packets.xdp(packet).verdict, 'send');
      const other = world.lab.nodes[1]!;
      const link = world.node.link('eth0').index;
      const address = other.addresses[end];
      world.node.configure((socket) => removeNeighbour(socket, link, address));
      // Routes are remembered for a moment.
      await eventually('packets pass', () => packets.xdp(packet).verdict === 'pass');
      const lladdr = other.link('eth0').address;
      world.node.configure((socket) => addNeighbour(socket, { link, address, lladdr }));
      assert.equal(packets.xdp(packet).verdict, 'send');
    });
  });
}

describe('XDP programs at interfaces', () => {
  let world: World;
  let packets: NodePackets;
  before(() => {
    world = new World('xdp-life', 1, { lab: { nodes: 2 } });
    packets = new NodePackets(world, 'v4');
    world.node.configure((socket) => createBridge(socket, { name: 'soft', up: true }));
  });
  after(() => world?.[Symbol.dispose]());

  /** A new agent with that mode, on these devices. */
  const serve = (xdp: XdpMode, ...names: string[]) => {
    world.restart({ xdp });
    const devices = names.map((name) => world.node.link(name));
    world.node.enter(() => world.datapath.setNode(devices, [packets.node]));
  };
  const status = () => world.node.enter(() => world.datapath.status());
  const states = () =>
    status().xdp.map(({ device, mode, problem }) => `${device} ${mode}: ${problem ?? 'good'}`);
  const hooks = (kind: string) =>
    status()
      .links.filter(({ hook }) => hook.startsWith(kind))
      .map(({ hook, attached }) => `${hook} ${attached}`);
  /** Attaches another software's program to a device. It throws if the device has a program. */
  const occupy = (name: string) => {
    using program = loadPass(world.bpf);
    const { index } = world.node.link(name);
    return world.node.enter(() => attachXdp(world.bpf, program, index, 'native'));
  };
  const isFree = (name: string) => {
    try {
      occupy(name)[Symbol.dispose]();
      return true;
    } catch (error) {
      assert.ok(error instanceof SysError && ['EBUSY', 'EEXIST'].includes(error.code), `${error}`);
      return false;
    }
  };

  test('the XDP program stays when the agent ends, and the next agent replaces it', () => {
    serve('native', 'eth0', 'veth1');
    assert.deepEqual(states(), ['eth0 native: good', 'veth1 native: good']);
    assert.deepEqual(hooks('node_xdp'), ['node_xdp@eth0 true', 'node_xdp@veth1 true']);
    const pinned = () => {
      const path = `${currentPins(world.node.bpffs).links}/node_xdp_native@eth0`;
      using link = BpfLink.openPinned(world.bpf, path);
      return link.info;
    };
    const before = pinned();
    assert.equal(before.programId, world.datapath.programs.xdp!.program('node_xdp').info.id);
    world.datapath[Symbol.dispose]();
    assert.ok(!isFree('eth0'), 'the interface has a program');
    serve('native', 'eth0', 'veth1');
    const after = pinned();
    assert.equal(after.id, before.id, 'the same link');
    assert.notEqual(after.programId, before.programId);
    assert.equal(after.programId, world.datapath.programs.xdp!.program('node_xdp').info.id);
  });

  test('the XDP program is removed from other interfaces, and from all when XDP is off', () => {
    serve('native', 'eth0', 'veth1');
    serve('native', 'eth0');
    assert.ok(isFree('veth1'));
    assert.ok(!isFree('eth0'));
    serve('off', 'eth0');
    assert.ok(isFree('eth0'));
    assert.deepEqual(states(), []);
    assert.deepEqual(hooks('node_xdp'), []);
    assert.equal(world.entriesOf('xdp_devices'), 0);
  });

  test('XDP changes from one mode to the other', () => {
    serve('generic', 'eth0');
    assert.deepEqual(states(), ['eth0 generic: good']);
    serve('native', 'eth0');
    assert.deepEqual(states(), ['eth0 native: good']);
    serve('generic', 'eth0');
    assert.deepEqual(states(), ['eth0 generic: good']);
    serve('off', 'eth0');
    assert.ok(isFree('eth0'));
  });

  test('a driver without native XDP is reported, and tc translates', () => {
    serve('native', 'eth0', 'soft');
    const none = 'its driver has no native XDP (use generic, or best-effort)';
    assert.deepEqual(states(), ['eth0 native: good', `soft off: ${none}`]);
    assert.deepEqual(hooks('node_xdp'), ['node_xdp@eth0 true', 'node_xdp@soft false']);
    assert.deepEqual(hooks('node_ingress'), ['node_ingress@eth0 true', 'node_ingress@soft true']);
    serve('best-effort', 'eth0', 'soft');
    assert.deepEqual(states(), ['eth0 native: good', `soft off: ${none}`]);
    assert.deepEqual(hooks('node_xdp'), ['node_xdp@eth0 true'], 'that is in order');
    serve('generic', 'eth0', 'soft');
    assert.deepEqual(states(), ['eth0 generic: good', 'soft generic: good']);
    serve('off', 'eth0');
  });

  test('another XDP program stays attached, and the removal of ours is reported', () => {
    const other = occupy('eth0');
    serve('native', 'eth0');
    assert.deepEqual(states(), ['eth0 off: another XDP program is there']);
    other[Symbol.dispose]();
    serve('native', 'eth0');
    assert.deepEqual(states(), ['eth0 native: good']);
    const path = `${currentPins(world.node.bpffs).links}/node_xdp_native@eth0`;
    using link = BpfLink.openPinned(world.bpf, path);
    link.detach();
    assert.deepEqual(states(), ['eth0 off: it was detached by another process']);
    serve('native', 'eth0');
    assert.deepEqual(states(), ['eth0 native: good']);
  });
});
