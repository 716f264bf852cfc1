import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { eth, type Packet, Packet as Packets } from '@heddle/lab';
import { externalIfindex, type Routes, VirtualClock } from '@heddle/vm';
import { numbered } from '../../testing/numbered.ts';
import { row } from '../../testing/rows.ts';
import { VmWorld } from '../../testing/vm-world.ts';
import { defaultNat } from './flow-options.ts';

// Timeouts and routes of tunnels: the userspace machine can have any time and route. node-tunnels.kernel.test.ts checks
// the packets.

const clients = { v4: '203.0.113.77', v6: 'fd00:203:0:113::77' } as const;
const remotes = { v4: '10.244.9.9', v6: 'fd00:10:244:9::9' } as const;
const peers = ['172.30.0.9', 'fd00:172:30::9'];
const deviceAddress = '02:00:00:00:00:02';

const SHOT = 2;
const REDIRECT = 7;

// linux/bpf.h: answers of bpf_fib_lookup, and places in struct bpf_fib_lookup
const SUCCESS = 0;
const NOT_FORWARDED = 4;
const NO_NEIGHBOUR = 7;
const MTU = 6;
const IFINDEX = 8;
const DESTINATION = 32;

const outwards: Routes = (route) => {
  const view = new DataView(route.buffer, route.byteOffset);
  view.setUint32(IFINDEX, externalIfindex, true);
  view.setUint16(MTU, 1500, true);
  return SUCCESS;
};

for (const end of ['v4', 'v6'] as const) {
  describe(`timeouts and routes of tunnels, ${end}`, () => {
    let world: VmWorld;
    let routes: Routes;
    let clock: VirtualClock;
    let node: string;
    beforeEach(() => {
      routes = outwards;
      clock = new VirtualClock();
      const timeouts = {
        ...defaultNat.timeouts,
        tcpHandshake: 40,
        udpUnanswered: 80,
        tcpClosed: 30,
      };
      world = new VmWorld('tunnels', 1, {
        ...{ base: clock, routes: (route, flags) => routes(route, flags) },
        sizes: { services: 100, backends: 100, slots: 1000, affinity: 100, flows: 400 },
        nat: { ...defaultNat, timeouts, tunnelAfter: 5 },
      });
      const { v4, v6 } = world.node.addresses;
      node = world.node.addresses[end];
      world.datapath.setNode(
        [{ name: 'eth0', index: externalIfindex, address: deviceAddress }],
        [v4, v6],
      );
      world.datapath.nat.setTunnelEnds({ peers, own: [v4, v6] });
      const frontend = { kind: 'NodePort', address: node, port: 30_001 } as const;
      const backend = { address: remotes[end], port: 8080 };
      world.apply(
        row([frontend], [backend], { forwarding: 'dsr' }),
        row([{ ...frontend, protocol: 'UDP' }], [backend], { protocol: 'UDP', forwarding: 'dsr' }),
        row([{ ...frontend, port: 30_002, protocol: 'UDP' }], [backend], { protocol: 'UDP' }),
      );
      pass(6);
    });
    afterEach(() => world?.[Symbol.dispose]());

    const from = (): Packet => {
      const frame = eth({ dst: deviceAddress });
      const ip = { src: clients[end], dst: node };
      return end === 'v4' ? frame.ipv4(ip) : frame.ipv6(ip);
    };
    const into = (packet: Packet) => world.host.frame('ingress', packet.bytes);
    const tcpTo = (dport: number, sport: number, ...segments: object[]) =>
      segments.map((flags) => into(from().tcp({ sport, dport, ...numbered(flags) }))).at(-1)!;
    const tcp = (sport: number, ...segments: object[]) => tcpTo(30_001, sport, ...segments);
    const udp = (sport: number, dport: number, count: number) => {
      for (let i = 0; i < count; i++) into(from().udp({ sport, dport }).payload('x'));
    };
    const pass = (seconds: number) => clock.advance(seconds * 1000);
    const [syn, ack, fin] = [{ syn: true }, { ack: true }, { ack: true, fin: true }];
    const left = () =>
      Array.from(world.datapath.nat.flows(), ({ clientPort }) => clientPort).sort((a, b) => a - b);
    const forwardingOf = (port: number) =>
      [...world.datapath.nat.flows()].find(({ clientPort }) => clientPort === port)?.forwarding;

    test("the timeout of a tunnelled flow follows the client's packets", () => {
      tcp(1, syn);
      tcp(2, syn, ack, ack);
      tcp(3, syn, ack, fin);
      udp(4, 30_001, 1);
      udp(5, 30_001, 3);
      udp(6, 30_002, 1);
      pass(5);
      assert.deepEqual(left(), [1, 2, 3, 4, 5, 6]);
      // Nothing was answered that this node would see: a quarter of the time, as there is no port to keep.
      pass(10);
      assert.deepEqual(left(), [2, 3, 4, 5, 6]);
      pass(10);
      assert.deepEqual(left(), [2, 3, 5, 6]);
      // Behind the client's FIN the other one is not seen: as if both had been.
      tcp(3, ack);
      pass(20);
      assert.deepEqual(left(), [2, 3, 5, 6]);
      pass(15);
      assert.deepEqual(left(), [2, 5, 6]);
      pass(40);
      assert.deepEqual(left(), [2, 5]);
      pass(300);
      assert.deepEqual(left(), [2]);
      assert.equal(world.datapath.nat.status().unanswered, 0);
    });

    test('packets to a new backend are tunnelled only after tunnelAfter seconds', () => {
      const frontend = { kind: 'NodePort', address: node, port: 30_003 } as const;
      world.apply(row([frontend], [{ address: remotes[end], port: 8081 }], { forwarding: 'dsr' }));
      tcpTo(30_003, 40, syn);
      assert.equal(forwardingOf(40), 'snat');
      pass(3);
      tcpTo(30_003, 41, syn);
      assert.equal(forwardingOf(41), 'snat');
      pass(3);
      tcpTo(30_003, 42, syn);
      assert.equal(forwardingOf(42), 'dsr');
      tcpTo(30_003, 40, syn);
      assert.equal(forwardingOf(40), 'snat', 'a flow stays what it began as');
    });

    test('a tunnel whose path MTU was too small is tried again after ten minutes', () => {
      tcp(10, syn);
      const away = into(from().tcp({ sport: 10, dport: 30_001, ack: true }).payload(1400));
      const whole = new Packets({ layers: Packets.parse(away.frame).layers.slice(1) });
      const about = { embedded: whole, mtu: end === 'v4' ? 560 : 1300 } as const;
      const error =
        end === 'v4'
          ? from().icmp({ type: 'fragmentation-needed', ...about })
          : from().icmpv6({ type: 'packet-too-big', ...about });
      assert.equal(into(error).verdict, REDIRECT);
      tcp(11, syn);
      assert.equal(forwardingOf(11), 'snat');
      pass(500);
      tcp(12, syn);
      assert.equal(forwardingOf(12), 'snat');
      pass(120);
      tcp(13, syn);
      assert.equal(forwardingOf(13), 'dsr');
    });

    test('no tunnel is used over a route whose MTU is too small', () => {
      for (const [mtu, expected] of [
        [end === 'v4' ? 595 : 1319, 'snat'],
        [end === 'v4' ? 596 : 1320, 'dsr'],
      ] as const) {
        routes = (route, flags) => {
          outwards(route, flags);
          new DataView(route.buffer, route.byteOffset).setUint16(MTU, mtu, true);
          return SUCCESS;
        };
        tcp(mtu, syn);
        assert.equal(forwardingOf(mtu), expected);
      }
    });

    test('a packet to an unresolved neighbour is passed to the kernel', () => {
      routes = (route, flags) => {
        outwards(route, flags);
        return NO_NEIGHBOUR;
      };
      const { verdict, redirection, frame } = tcp(20, syn);
      assert.equal(verdict, REDIRECT);
      assert.equal(redirection?.to, 'neighbour');
      const [, outer, inner] = Packets.parse(frame).layers;
      assert.partialDeepStrictEqual(outer, { src: node, dst: remotes[end] });
      assert.partialDeepStrictEqual(inner, { src: clients[end], dst: node });
    });

    test('a tunnelled flow ends when its backend moves to this node or behind another interface', () => {
      tcp(30, syn);
      routes = (route, flags) =>
        route[DESTINATION] === 203 || route[DESTINATION + 3] === 0x03
          ? outwards(route, flags)
          : NOT_FORWARDED;
      pass(1);
      assert.equal(tcp(30, syn).verdict, SHOT);
    });
  });
}
