import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { eth, type Packet, Packet as Packets, type Tcp } from '@heddle/lab';
import type { ServiceRow } from '@heddle/services';
import { parseIp } from '@heddle/sys';
import { externalIfindex, type Routes, VirtualClock } from '@heddle/vm';
import { testNat } from '../../testing/nat.ts';
import { numbered } from '../../testing/numbered.ts';
import { row } from '../../testing/rows.ts';
import { VmWorld } from '../../testing/vm-world.ts';
import { defaultNat } from './flow-options.ts';

// Cases that are hard to produce in the kernel: unusual routes, truncated packets, full tables. The userspace machine can
// be set up so.

const clients = { v4: '203.0.113.77', v6: 'fd00:203:0:113::77' } as const;
const remotes: Record<End, string> = { v4: '10.244.9.9', v6: 'fd00:10:244:9::9' };
type End = keyof typeof clients;
/** Another node. */
const peers = { v4: '172.30.0.2', v6: 'fd00:172:30::2' } as const;
/** The index of the simulated external interface. */
const deviceAddress = '02:00:00:00:00:02';

const UNSPEC = 0xffffffff;
const SHOT = 2;
const REDIRECT = 7;

// linux/bpf.h: answers of bpf_fib_lookup, its flag, and places in struct bpf_fib_lookup
const SUCCESS = 0;
const UNREACHABLE = 2;
const NO_NEIGHBOUR = 7;
const INVALID = -22;
const LOOKUP_SOURCE = 1 << 4;
const MTU = 6;
const IFINDEX = 8;
const SOURCE = 16;
const DESTINATION = 32;

/** The route out of the interface; each test changes it. */
const outwards: Routes = (route) => {
  const view = new DataView(route.buffer, route.byteOffset);
  view.setUint32(IFINDEX, externalIfindex, true);
  view.setUint16(MTU, 1500, true);
  return SUCCESS;
};

describe('rare cases of the programs at interfaces, in the userspace machine', () => {
  let world: VmWorld;
  let routes: Routes;
  let clock: VirtualClock;
  beforeEach(() => {
    routes = outwards;
    clock = new VirtualClock();
    world = new VmWorld('corners', 1, {
      ...{ base: clock, routes: (route, flags) => routes(route, flags) },
      sizes: { services: 100, backends: 100, slots: 1000, affinity: 100, flows: 400 },
      nat: { ...testNat, ports: { first: 5000, last: 5002 } },
    });
    const { v4, v6 } = world.node.addresses;
    world.datapath.setNode(
      [{ name: 'eth0', index: externalIfindex, address: deviceAddress }],
      [v4, v6],
    );
  });
  afterEach(() => world?.[Symbol.dispose]());

  const node = (end: End) => world.node.addresses[end];
  const service = (
    end: End,
    port: number,
    more: Partial<ServiceRow> = {},
    address = remotes[end],
  ) =>
    row(
      [{ kind: 'NodePort', address: node(end), port, protocol: more.protocol ?? 'TCP' }],
      [{ address, port: 8080 }],
      more,
    );
  const from = (end: End, src: string, dst: string): Packet =>
    end === 'v4'
      ? eth({ dst: deviceAddress }).ipv4({ src, dst })
      : eth({ dst: deviceAddress }).ipv6({ src, dst });
  const syn = (end: End, sport: number, dport: number) =>
    from(end, clients[end], node(end)).tcp({ sport, dport, syn: true });
  const segment = (end: End, sport: number, flags: Partial<Tcp>) =>
    from(end, clients[end], node(end)).tcp({ sport, dport: 30_001, ...numbered(flags) });
  /** Returns another backend. */
  const elsewhere = (end: End) => `${remotes[end].slice(0, -1)}8`;
  const into = (packet: Packet | Uint8Array) =>
    world.host.frame('ingress', packet instanceof Uint8Array ? packet : packet.bytes);
  /** Opens a connection that both sides confirm, so that its port is not reused; returns the outcome of its SYN. */
  const connect = (end: End, sport: number): number => {
    const { verdict, frame } = into(syn(end, sport, 30_001));
    if (verdict !== REDIRECT) return verdict;
    const dport = Packets.parse(frame).layer('tcp')!.sport;
    const back = (flags: Partial<Tcp>) =>
      from(end, remotes[end], node(end)).tcp({ sport: 8080, dport, ...numbered(flags) });
    into(back({ syn: true, ack: true }));
    into(segment(end, sport, { ack: true }));
    into(back({ ack: true }).payload('hello'));
    return verdict;
  };
  /** Returns how often each drop reason was counted while `work` ran. */
  const drops = (work: () => void) => {
    const counts = () =>
      new Map(world.datapath.drops.counts().map(({ reason, count }) => [reason, count]));
    const before = counts();
    work();
    return [...counts()].filter(([reason, count]) => count > before.get(reason)!);
  };
  const one = (part: RegExp, work: () => void) => {
    const counted = drops(work);
    assert.equal(counted.length, 1, JSON.stringify(counted));
    assert.match(counted[0]![0], part);
  };
  /** Runs a program on a packet with some fields of its struct __sk_buff. */
  const run = (name: string, packet: Packet, fields: Readonly<Record<number, number>>) => {
    const context = new Uint8Array(192);
    const view = new DataView(context.buffer);
    for (const [at, value] of Object.entries(fields)) view.setUint32(Number(at), value, true);
    const data = packet.bytes;
    return world.datapath.programs.node
      .program(name)
      .testRun({ data, context, dataRoom: data.length });
  };
  const IFINDEX_OF_SKB = 40;
  const TC_INDEX = 44;
  const GSO_SIZE = 176;

  for (const end of ['v4', 'v6'] as const) {
    test(`a packet to an unresolved neighbour is passed to the kernel, ${end}`, () => {
      world.apply(service(end, 30_001));
      routes = (route, flags) => {
        outwards(route, flags);
        return NO_NEIGHBOUR;
      };
      const { verdict, redirection } = into(syn(end, 4000, 30_001));
      assert.equal(verdict, REDIRECT);
      assert.equal(redirection?.to, 'neighbour');
      assert.equal(redirection?.ifindex, externalIfindex);
      // struct bpf_redir_neigh: family, then the address.
      assert.equal(redirection?.nextHop?.[0], end === 'v4' ? 2 : 10);
    });

    test(`a packet is dropped when there is no route to the backend, ${end}`, () => {
      world.apply(service(end, 30_001));
      routes = () => UNREACHABLE;
      one(/route/, () => assert.equal(into(syn(end, 4001, 30_001)).verdict, SHOT));
    });

    test(`the node's first address is the SNAT address when the route has none, ${end}`, () => {
      world.apply(service(end, 30_001));
      const source = () => {
        const ip = Packets.parse(into(syn(end, ++sport, 30_001)).frame);
        return (ip.layer('ipv4') ?? ip.layer('ipv6'))!.src;
      };
      let sport = 4100;
      // Before Linux 6.7 the flag is not known.
      routes = (route, flags) => (flags & LOOKUP_SOURCE ? INVALID : outwards(route, flags));
      assert.equal(source(), node(end));
      // An address that the agent has not set.
      routes = (route, flags) => {
        if (flags & LOOKUP_SOURCE) route.fill(9, SOURCE, SOURCE + 16);
        return outwards(route, flags);
      };
      assert.equal(source(), node(end));
    });

    test(`the segments of a GSO packet are compared with the MTU, ${end}`, () => {
      world.apply(service(end, 30_001));
      const lengths: number[] = [];
      routes = (route, flags) => {
        lengths.push(new DataView(route.buffer, route.byteOffset).getUint16(MTU, true));
        return outwards(route, flags);
      };
      const large = syn(end, 4200, 30_001).payload(30_000);
      const fields = { [IFINDEX_OF_SKB]: externalIfindex, [GSO_SIZE]: 1400 };
      assert.equal(run('node_ingress', large, fields).returnValue, REDIRECT);
      assert.equal(lengths.at(-1), (end === 'v4' ? 20 : 40) + 20 + 1400);
    });

    test(`a new flow is dropped when all SNAT ports towards its backend are in use, ${end}`, () => {
      world.apply(service(end, 30_001), service(end, 30_002, {}, elsewhere(end)));
      const verdicts = () => [1, 2, 3, 4, 5].map((i) => connect(end, 4300 + i));
      one(/port/, () => {
        assert.deepEqual(verdicts(), [REDIRECT, REDIRECT, REDIRECT, SHOT, SHOT]);
      });
      assert.equal(into(syn(end, 4400, 30_002)).verdict, REDIRECT, 'another backend has its own');
      // After a search without result, the next one waits for the clock's next tick, about a second.
      world.apply(service(end, 30_001));
      clock.advance(1100);
      one(/port/, () => assert.equal(into(syn(end, 4500, 30_001)).verdict, SHOT));
    });

    test(`a flow of a removed backend ends with a reset or another backend, ${end}`, () => {
      world.apply(service(end, 30_001));
      assert.equal(into(segment(end, 4600, { syn: true })).verdict, REDIRECT);
      world.apply(service(end, 30_001, {}, elsewhere(end)));
      const { verdict } = into(segment(end, 4600, { ack: true }));
      assert.equal(verdict, UNSPEC, 'the stack resets it');
      assert.deepEqual([...world.datapath.nat.flows()], []);
    });

    test(`endFlow frees the tuples, the entry and the counts of a flow, ${end}`, () => {
      const wanted = service(end, 30_001, { algorithm: 'least-connections' });
      world.apply(wanted);
      const { datapath } = world;
      const active = () => datapath.services.backendCounters(wanted.key)[0]?.active;
      for (const sport of [4650, 4651]) into(segment(end, sport, { syn: true }));
      const [ended, other] = [...datapath.nat.flows()];
      assert.deepEqual([active(), datapath.nat.status().unanswered], [2, 2]);
      assert.equal(
        datapath.nat.endFlow(ended!.number, () => false),
        false,
      );
      assert.equal(
        datapath.nat.endFlow(0, () => true),
        false,
        'no flow is there',
      );
      assert.equal(
        datapath.nat.endFlow(ended!.number, ({ number }) => number === ended!.number),
        true,
      );
      assert.equal(
        datapath.nat.endFlow(ended!.number, () => true),
        false,
        'it is over',
      );
      assert.deepEqual(
        Array.from(datapath.nat.flows(), ({ clientPort }) => clientPort),
        [other!.clientPort],
      );
      assert.deepEqual([active(), datapath.nat.status().unanswered], [1, 1]);
      assert.equal(into(segment(end, ended!.clientPort, { ack: true })).verdict, UNSPEC);
      assert.equal(into(segment(end, other!.clientPort, { syn: true })).verdict, REDIRECT);
      // The keys are free at once, the entry after two sweeps.
      assert.equal(into(segment(end, ended!.clientPort, { syn: true })).verdict, REDIRECT);
      for (let i = 0; i < 4; i++) clock.advance(100);
      assert.equal(datapath.nat.status().flows, 2);
    });

    test(`a connection that the backend closes first is counted for least-connections, ${end}`, () => {
      const wanted = service(end, 30_001, { algorithm: 'least-connections' });
      world.apply(wanted);
      const active = () => world.datapath.services.backendCounters(wanted.key)[0]?.active;
      const { frame } = into(segment(end, 4700, { syn: true }));
      const port = Packets.parse(frame).layer('tcp')!.sport;
      const back = (flags: Partial<Tcp>) =>
        from(end, remotes[end], node(end)).tcp({ sport: 8080, dport: port, ...numbered(flags) });
      assert.equal(active(), 1);
      for (const packet of [
        back({ syn: true, ack: true }),
        segment(end, 4700, { ack: true }),
        back({ fin: true, ack: true }),
        // Again, as it was lost.
        back({ fin: true, ack: true }),
      ]) {
        assert.equal(into(packet).verdict, REDIRECT);
      }
      assert.equal([...world.datapath.nat.flows()][0]?.state, 'half-closed by the backend');
      assert.equal(active(), 1);
      assert.equal(into(segment(end, 4700, { fin: true, ack: true })).verdict, REDIRECT);
      assert.equal([...world.datapath.nat.flows()][0]?.state, 'closed by the backend');
      assert.equal(active(), 0);
    });

    test(`of a removed local backend only its own connections leave the node, ${end}`, () => {
      const pod = world.pod(0).addresses[end];
      routes = (route, flags) => {
        outwards(route, flags);
        const view = new DataView(route.buffer, route.byteOffset);
        const last = DESTINATION + (end === 'v4' ? 3 : 15);
        if (route[last] === parseIp(pod)!.at(-1))
          view.setUint32(IFINDEX, externalIfindex + 1, true);
        return SUCCESS;
      };
      world.apply(service(end, 30_001, {}, pod));
      const out = (flags: Partial<Tcp>) => {
        const packet = from(end, pod, clients[end]).tcp({
          sport: 8080,
          dport: 4750,
          ...numbered(flags),
        });
        const { verdict, frame } = world.host.frame('egress', packet.bytes);
        if (verdict === SHOT) return 'dropped';
        const ip = Packets.parse(frame);
        return (ip.layer('ipv4') ?? ip.layer('ipv6'))!.src;
      };
      assert.equal(into(segment(end, 4750, { syn: true })).verdict, REDIRECT);
      assert.equal(out({ syn: true, ack: true }), node(end));
      assert.equal(into(segment(end, 4750, { ack: true })).verdict, REDIRECT);
      world.apply(service(end, 30_001, {}, elsewhere(end)));
      assert.equal(out({ ack: true }), 'dropped');
      assert.equal(out({ syn: true }), pod);
      assert.deepEqual([...world.datapath.nat.flows()], []);
    });

    test(`a UDP flow ends when its service loses the port, ${end}`, () => {
      const wanted = service(end, 30_001, { protocol: 'UDP', key: 'moving' });
      world.apply(wanted);
      const question = from(end, clients[end], node(end)).udp({ sport: 4760, dport: 30_001 });
      const { verdict, frame } = into(question.payload('?'));
      assert.equal(verdict, REDIRECT);
      const port = Packets.parse(frame).layer('udp')!.sport;
      const moved = wanted.frontends.map((frontend) => ({ ...frontend, port: 30_002 }));
      world.apply({ ...wanted, frontends: moved });
      clock.advance(1000);
      assert.equal(into(question.payload('?')).verdict, UNSPEC, 'it is the node’s own affair');
      const answer = from(end, remotes[end], node(end)).udp({ sport: 8080, dport: port });
      const back = Packets.parse(into(answer.payload('!')).frame);
      assert.equal(back.layer('udp')!.sport, 30_001, 'what is under way arrives');
    });

    test(`fragments that arrive long before the first one are counted as dropped, ${end}`, () => {
      world.apply(service(end, 30_001, { protocol: 'UDP' }));
      const parts = (id: number, dport: number) =>
        from(end, clients[end], node(end))
          .udp({ sport: 4780, dport })
          .payload(3000)
          .fragments([1000, 1000], id);
      const late = (packet: Packet) =>
        run('node_ingress', packet, { [IFINDEX_OF_SKB]: externalIfindex, [TC_INDEX]: 8 })
          .returnValue;
      const [first, second, third] = parts(1, 30_001);
      assert.deepEqual(
        drops(() => assert.equal(late(third!), UNSPEC)),
        [],
      );
      assert.equal(late(second!), UNSPEC);
      const counts = () =>
        world.datapath.drops.counts().find(({ reason }) => /fragment/.test(reason))!.count;
      const before = counts();
      assert.equal(into(first!).verdict, REDIRECT);
      assert.equal(counts(), before + 2);
      // Once, and not of packets that are the node's own.
      assert.equal(into(first!).verdict, REDIRECT);
      const own = parts(2, 30_009);
      assert.equal(late(own[1]!), UNSPEC);
      assert.equal(into(own[0]!).verdict, UNSPEC);
      assert.equal(counts(), before + 2);
    });

    test(`a tunnelled connection is closed by the client's FIN alone, ${end}`, () => {
      world.datapath.nat.setTunnelEnds({ peers: [peers[end]], own: [node(end)] });
      world.apply(service(end, 30_001, { forwarding: 'dsr' }));
      for (const flags of [{ syn: true }, { ack: true }, { ack: true, fin: true }]) {
        assert.equal(into(segment(end, 4770, flags)).verdict, REDIRECT);
      }
      const [flow] = [...world.datapath.nat.flows()];
      assert.equal(flow?.forwarding, 'dsr');
      assert.equal(flow?.state, 'half-closed by the client');
      const { tcpClosed, tcpHalfClosed } = defaultNat.timeouts;
      assert.ok(tcpClosed * 10 < tcpHalfClosed);
      clock.advance((tcpClosed + 10) * 1000);
      assert.deepEqual([...world.datapath.nat.flows()], []);
    });

    test(`a tunnelled fragment before the first one waits, then is passed to the stack, ${end}`, () => {
      world.datapath.nat.setTunnelEnds({ peers: [peers[end]], own: [node(end)] });
      const pod = world.pod(0).addresses[end];
      const balancer = end === 'v4' ? '198.51.100.7' : 'fd00:198:51:100::7';
      const wanted = service(end, 82, { protocol: 'UDP', forwarding: 'dsr' }, pod);
      const moved = wanted.frontends.map((frontend) => ({
        ...frontend,
        ...{ kind: 'LoadBalancer' as const, address: balancer },
      }));
      world.apply({ ...wanted, frontends: moved });
      const whole = from(end, clients[end], balancer).udp({ sport: 4780, dport: 82 });
      const [, later] = whole.payload(2000).fragments([1200], 79);
      const outer = from(end, peers[end], pod);
      const { returnValue, context } = run('node_ingress', later!.within(outer), {
        [IFINDEX_OF_SKB]: externalIfindex,
      });
      assert.equal(returnValue, REDIRECT);
      const waited = new DataView(context.buffer, context.byteOffset).getUint32(TC_INDEX, true);
      assert.equal(waited, 1);
      const last = run('node_ingress', later!.within(outer), {
        ...{ [IFINDEX_OF_SKB]: externalIfindex, [TC_INDEX]: 100 },
      });
      assert.equal(last.returnValue >>> 0, UNSPEC);
      assert.deepEqual(last.data, later!.within(outer).bytes);
    });

    test(`a client outside of loadBalancerSourceRanges is dropped, ${end}`, () => {
      const denied = service(end, 30_001, {
        sourceRanges: [end === 'v4' ? '192.0.2.0/24' : '2001:db8::/32'],
      });
      world.apply({
        ...denied,
        frontends: denied.frontends.map((each) => ({ ...each, kind: 'LoadBalancer' as const })),
      });
      one(/Ranges/, () => assert.equal(into(syn(end, 4800, 30_001)).verdict, SHOT));
    });

    test(`a translated packet is not translated again where it leaves, ${end}`, () => {
      world.apply(service(end, 30_001));
      const packet = syn(end, 4900, 30_001);
      const { returnValue, context } = run('node_ingress', packet, {
        [IFINDEX_OF_SKB]: externalIfindex,
      });
      assert.equal(returnValue, REDIRECT);
      const mark = new DataView(context.buffer, context.byteOffset).getUint32(TC_INDEX, true);
      const fields = { [IFINDEX_OF_SKB]: externalIfindex, [TC_INDEX]: mark };
      const left = run('node_egress', packet, fields);
      assert.equal(left.returnValue >>> 0, UNSPEC);
      assert.equal(
        new DataView(left.context.buffer, left.context.byteOffset).getUint32(TC_INDEX, true),
        0,
      );
      assert.deepEqual(left.data, packet.bytes);
    });

    test(`an ICMP message that ends before its type is dropped, ${end}`, () => {
      const address = end === 'v4' ? '10.96.7.7' : 'fd00:96::77';
      world.apply(
        row([{ kind: 'ClusterIP', address, port: 80 }], [{ address: remotes[end], port: 80 }]),
      );
      const whole = from(end, clients[end], address);
      const echo = { type: 'echo-request', id: 1, sequence: 1 } as const;
      const { bytes } = end === 'v4' ? whole.icmp(echo) : whole.icmpv6(echo);
      const headers = 14 + (end === 'v4' ? 20 : 40);
      one(/truncated/, () => assert.equal(into(bytes.slice(0, headers)).verdict, SHOT));
    });

    test(`an ICMP error about a datagram whose checksum becomes zero is translated, ${end}`, () => {
      world.apply(service(end, 30_001, { protocol: 'UDP' }));
      const question = from(end, clients[end], node(end)).udp({ sport: 4950, dport: 30_001 });
      const port = Packets.parse(into(question.payload('?')).frame).layer('udp')!.sport;
      const bytes = (low: number) => Uint8Array.of(low >> 8, low & 0xff);
      /** The backend's answer, and what the client sees of it. */
      const answer = (low: number) =>
        from(end, remotes[end], node(end)).udp({ sport: 8080, dport: port }).payload(bytes(low));
      const seen = (low: number) =>
        from(end, node(end), clients[end]).udp({ sport: 30_001, dport: 4950 }).payload(bytes(low));
      const zero = Array.from({ length: 65_536 }, (_, low) => low).find(
        (low) => checksumOf(answer(low)) === 0xffff,
      )!;
      const bare = seen(zero).within(new Packets({ layers: [] }));
      const error = from(end, clients[end], node(end));
      const embedded = { type: 'port-unreachable', embedded: bare } as const;
      const { frame } = into(end === 'v4' ? error.icmp(embedded) : error.icmpv6(embedded));
      const inner = Packets.parse(frame).embedded!;
      // 0 would say that there is none.
      assert.equal(checksumOf(inner), 0xffff);
      assert.equal(`${Packets.parse(frame)}`.includes('WRONG'), false);
    });
  }

  test('IPv6 extension headers are followed, and a truncated one is dropped', () => {
    world.apply(service('v6', 30_001));
    const options = from('v6', clients.v6, node('v6'))
      .extension('hop-by-hop')
      .extension('destination-options');
    for (const packet of [options, options.extension('routing')]) {
      const { verdict } = into(packet.tcp({ sport: 5000, dport: 30_001, syn: true }));
      assert.equal(verdict, REDIRECT);
    }
    // RFC 4302: an authentication header counts its length in another way. 44 bytes here.
    const plain = from('v6', clients.v6, node('v6')).tcp({ sport: 5001, dport: 30_001, syn: true });
    const header = new Uint8Array(44);
    header.set([6, 9]);
    const frame = plain.with('ipv6', { nextHeader: 51, length: 44 + 20 }).bytes;
    const whole = Uint8Array.of(...frame.subarray(0, 54), ...header, ...frame.subarray(54));
    assert.equal(into(whole).verdict, REDIRECT);
    const address = 'fd00:96::77';
    world.apply(
      row([{ kind: 'ClusterIP', address, port: 80 }], [{ address: remotes.v6, port: 80 }]),
    );
    const { bytes } = from('v6', clients.v6, address)
      .extension('hop-by-hop')
      .tcp({ sport: 1, dport: 80, syn: true });
    one(/truncated/, () => assert.equal(into(bytes.slice(0, 14 + 40 + 1)).verdict, SHOT));
  });
});

/** Returns the checksum that a UDP datagram has. */
function checksumOf(packet: Packet): number {
  const { bytes } = packet.within(new Packets({ layers: [] }));
  const at = (bytes[0]! >> 4 === 4 ? 20 : 40) + 6;
  return (bytes[at]! << 8) | bytes[at + 1]!;
}
