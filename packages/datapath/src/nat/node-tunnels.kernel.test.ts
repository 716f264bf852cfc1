import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { assertPacket, eth, type Packet } from '@heddle/lab';
import { externals } from '../../testing/node-packets.ts';
import { packetSuite, sent } from '../../testing/packet-suite.ts';

const tooBig = { v4: 'fragmentation-needed', v6: 'packet-too-big' };
const overhead = { v4: 20, v6: 40 };

packetSuite('packets in tunnels between nodes', { name: 'tunnels', pods: 2 }, (stage) => {
  const { end, client, withIp: ip } = stage;
  let sport = 20_000;
  before(() =>
    stage.world.datapath.nat.setTunnelEnds({ peers: [stage.peer], own: [stage.packets.node] }),
  );

  const dsr = { forwarding: 'dsr' } as const;
  const udp = { ...dsr, protocol: 'UDP' } as const;
  const sctp = { ...dsr, protocol: 'SCTP' } as const;
  const request = (dport: number, to = stage.packets.node, more: { ttl?: number } = {}) =>
    stage.packets.from(client, to, more).tcp({ sport: ++sport, dport, syn: true, seq: 1000 });
  const datagram = (dport: number, to = stage.packets.node) =>
    stage.packets.from(client, to).udp({ sport: ++sport, dport }).payload('question');
  /** Returns a packet in a tunnel between these; the frame is one of `frame`'s. */
  const inTunnel = (packet: Packet, frame: Packet, src: string, dst: string) => {
    const { src: from, dst: to } = frame.layer('eth')!;
    const outer = eth({ src: from!, dst: to! });
    return packet.within(
      end === 'v4' ? outer.ipv4({ src, dst, df: true }) : outer.ipv6({ src, dst }),
    );
  };
  /** Returns the tunnel packet that leaves for the other node. */
  const leaving = (packet: Packet) => {
    const frame = stage.packets.framed(
      stage.packets.to(client, client),
      stage.world.node.link('eth0').address,
      stage.world.lab.nodes[1]!.link('eth0').address,
    );
    return inTunnel(ip(packet, { ttl: 63 }), frame, stage.packets.node, stage.remote);
  };
  /** Returns the tunnel packet that arrives from the other node or another sender. */
  const coming = (packet: Packet, from = stage.peer, to = stage.local) =>
    inTunnel(packet, stage.packets.from(client, client), from, to);
  const flowOf = (port: number) =>
    [...stage.world.datapath.nat.flows()].find(({ clientPort }) => clientPort === port);
  const forwardingOf = (port: number) => flowOf(port)?.forwarding;

  describe("at the node that the client's packets enter", () => {
    test("the client's segments are tunnelled unchanged but for the TTL", () => {
      stage.world.apply(stage.packets.service(30_001, [stage.remote], dsr));
      const syn = request(30_001);
      const states: (string | undefined)[] = [];
      const follow = (packet: Packet) => {
        assertPacket(sent(stage.packets.ingress(packet)).bytes, leaving(packet));
        states.push(flowOf(sport)?.state);
      };
      const next = (fields: object) =>
        stage.packets
          .from(client, stage.packets.node)
          .tcp({ sport, dport: 30_001, seq: 1001, ...fields });
      const before = stage.world.flowKeys;
      follow(syn);
      assert.equal(stage.world.flowKeys, before + 1, 'no key for replies');
      follow(syn);
      const { unanswered } = stage.world.datapath.nat.status();
      follow(next({ ack: true, ackSeq: 1 }));
      follow(next({ ack: true, psh: true, ackSeq: 1 }).payload('question'));
      assert.equal(stage.world.datapath.nat.status().unanswered, unanswered - 1);
      follow(next({ ack: true, fin: true, ackSeq: 9 }));
      follow(next({ ack: true, ackSeq: 10 }));
      const ended = 'half-closed by the client';
      assert.deepEqual(states, ['syn', 'syn', 'established', 'established', ended, ended]);
      assert.equal(flowOf(sport)!.forwarding, 'dsr');
      assert.equal(flowOf(sport)!.source, client);
      follow(next({ rst: true }));
      assert.equal(states.at(-1), 'reset');
    });

    test('a connection from the same port after a closed one gets a new backend', () => {
      stage.world.apply(stage.packets.service(30_002, [stage.remote], dsr));
      const syn = request(30_002);
      sent(stage.packets.ingress(syn));
      sent(stage.packets.ingress(syn.with('tcp', { syn: false, ack: true, fin: true })));
      stage.world.apply(stage.packets.service(30_002, [stage.local], dsr));
      sent(stage.packets.ingress(syn));
      assert.equal(forwardingOf(sport), 'local');
    });

    test('a second UDP packet confirms the flow', () => {
      stage.world.apply(stage.packets.service(30_003, [stage.remote], udp));
      const question = datagram(30_003);
      for (let i = 0; i < 3; i++) {
        assertPacket(sent(stage.packets.ingress(question)).bytes, leaving(question));
      }
      assert.equal(flowOf(sport)?.state, 'answered');
      // Several, as the mirror may run a packet twice.
      const states = [1, 2, 3, 4].map(() => {
        sent(stage.packets.ingress(datagram(30_003)));
        return flowOf(sport)?.state;
      });
      assert.ok(states.includes('unanswered'), `${states}`);
    });

    test('SCTP packets are tunnelled unchanged', () => {
      stage.world.apply(stage.packets.service(30_004, [stage.remote], sctp));
      const value = new Uint8Array(16);
      const chunk = (type: 'init' | 'cookie-echo') =>
        stage.packets
          .from(client, stage.packets.node)
          .sctp({ sport: 4100, dport: 30_004, tag: 5, chunks: [{ type, value }] });
      const states = (['init', 'init', 'cookie-echo'] as const).map((type) => {
        assertPacket(sent(stage.packets.ingress(chunk(type))).bytes, leaving(chunk(type)));
        return flowOf(4100)?.state;
      });
      assert.deepEqual(states, ['unanswered', 'unanswered', 'answered']);
    });

    test("the tunnel header has the packet's traffic class", () => {
      const address = externals[end];
      const frontend = { kind: 'LoadBalancer', address } as const;
      stage.world.apply(stage.packets.service(80, [stage.remote], { ...dsr, frontend }));
      const plain = request(80, address);
      // AF11, and congestion experienced, which is not the tunnel's.
      const marked =
        end === 'v4'
          ? plain.with('ipv4', { tos: 0x2b })
          : plain.with('ipv6', { trafficClass: 0x2b, flowLabel: 0x12345 });
      const expected = leaving(marked);
      assertPacket(
        sent(stage.packets.ingress(marked)).bytes,
        end === 'v4'
          ? expected.with('ipv4', { tos: 0x28 })
          : expected.with('ipv6', { trafficClass: 0x28, flowLabel: 0x12345 }),
      );
    });

    test('packets to a local backend or of a service without dsr are not tunnelled', () => {
      stage.world.apply(
        stage.packets.service(30_005, [stage.local], dsr),
        stage.packets.service(30_006, [stage.remote], { forwarding: 'snat' }),
      );
      sent(stage.packets.ingress(request(30_005)));
      assert.equal(forwardingOf(sport), 'local');
      sent(stage.packets.ingress(request(30_006)));
      assert.equal(forwardingOf(sport), 'snat');
    });

    test('packets of a client on another node are not tunnelled', () => {
      stage.world.apply(stage.packets.service(30_007, [stage.remote], dsr));
      const { src, dst } = stage.packets.from(client, client).layer('eth')!;
      const from = eth({ src: src!, dst: dst! });
      for (const address of [stage.peer, stage.world.lab.nodes[1]!.pods[0]!.addresses[end]]) {
        const to = stage.packets.node;
        const packet = (
          end === 'v4' ? from.ipv4({ src: address, dst: to }) : from.ipv6({ src: address, dst: to })
        ).tcp({ sport: ++sport, dport: 30_007, syn: true });
        sent(stage.packets.ingress(packet));
        assert.equal(forwardingOf(sport), 'snat', address);
      }
    });

    test('no tunnel is used while the node has no tunnel address', () => {
      stage.world.apply(stage.packets.service(30_008, [stage.remote], dsr));
      stage.world.datapath.nat.setTunnelEnds({ peers: [stage.peer], own: [] });
      try {
        sent(stage.packets.ingress(request(30_008)));
        assert.equal(forwardingOf(sport), 'snat');
      } finally {
        stage.world.datapath.nat.setTunnelEnds({ peers: [stage.peer], own: [stage.packets.node] });
      }
    });

    test('a packet too large for the tunnel is answered with the MTU that fits', () => {
      stage.world.apply(stage.packets.service(30_009, [stage.remote], udp));
      const fits = 1500 - overhead[end];
      const headers = overhead[end] + 8;
      const sized = (length: number) =>
        stage.packets
          .from(client, stage.packets.node, { df: true })
          .udp({ sport: 4200, dport: 30_009 })
          .payload(length - headers);
      assertPacket(sent(stage.packets.ingress(sized(fits))).bytes, leaving(sized(fits)));
      const large = sized(fits + 1);
      const counted = stage.packets.drops(() => {
        assertPacket(
          sent(stage.packets.ingress(large)).bytes,
          stage.packets.icmp(
            stage.packets.to(stage.packets.node, client, { df: true }),
            tooBig,
            fits,
            stage.packets.bare(large).first(headers),
          ),
        );
      });
      assert.deepEqual(counted, {
        'larger than the MTU of the next hop; the sender got an ICMP error': 1,
      });
    });

    test('an ICMP error about the tunnel reaches the client as one about its packet', () => {
      const address = externals[end];
      const frontend = { kind: 'LoadBalancer', address } as const;
      // A backend of its own, as it is to be known for its narrow tunnel.
      const far = stage.world.lab.nodes[1]!.pods[1]!.addresses[end];
      stage.world.apply(stage.packets.service(89, [far], { ...dsr, frontend }));
      sent(stage.packets.ingress(request(89, address)));
      const large = stage.packets
        .from(client, address, { df: true })
        .tcp({ sport, dport: 89, ack: true, seq: 1001, ackSeq: 6 })
        .payload(1400);
      const away = sent(stage.packets.ingress(large));
      const router = end === 'v4' ? '192.0.2.254' : 'fd00:192:0:2::254';
      const told = (about: Packet, mtu: number) =>
        stage.packets.icmp(stage.packets.from(router, stage.packets.node), tooBig, mtu, about);
      const whole = stage.packets.bare(away);
      const expected = (mtu: number, ttl = 63) =>
        stage.packets.icmp(
          stage.packets.to(address, client, { df: true }),
          tooBig,
          mtu,
          stage.packets.bare(ip(large, { ttl })).first(overhead[end] + 20),
        );
      // With all of the packet that it may have, and with the least that is of use.
      for (const length of [500, 2 * overhead[end] + 20]) {
        assertPacket(
          sent(stage.packets.ingress(told(whole.first(length), 1400))).bytes,
          expected(1400 - overhead[end]),
        );
      }
      // About nothing that is known here, or nothing of the kind: the node's own affair.
      const strange = stage.packets.bare(ip(leaving(large), { dst: stage.local }));
      const unreachable = stage.packets.icmp(
        stage.packets.from(router, stage.packets.node),
        { v4: 'host-unreachable', v6: 'address-unreachable' },
        undefined,
        whole.first(500),
      );
      for (const error of [
        told(strange.first(500), 1400),
        told(whole.first(2 * overhead[end] - 4), 1400),
        unreachable,
      ]) {
        const { verdict, packet } = stage.packets.ingress(error);
        assert.equal(verdict, 'pass');
        assertPacket(packet.bytes, error);
      }
      // An MTU is invalid if it is below that of any link, or not below the length of the quoted packet.
      const { length } = whole.bytes;
      for (const mtu of [0, 68, { v4: 551, v6: 1279 }[end], length, 9000, 65_535]) {
        const error = told(whole.first(500), mtu);
        const { verdict, packet } = stage.packets.ingress(error);
        assert.equal(verdict, 'pass', `${mtu}`);
        assertPacket(packet.bytes, error);
      }
      // Narrower than every host may be asked to be: the client's next flow has no tunnel.
      const least = { v4: 576 + 20, v6: 1280 + 40 }[end];
      sent(stage.packets.ingress(told(whole.first(500), least)));
      assert.equal(forwardingOf(sport), 'dsr');
      stage.packets.ingress(told(whole.first(500), least - 1));
      assert.equal(forwardingOf(sport), 'dsr', 'it goes on');
      sent(stage.packets.ingress(request(89, address)));
      assert.equal(forwardingOf(sport), 'snat');
      // It says nothing about other clients.
      const other = end === 'v4' ? '203.0.113.78' : 'fd00:203:0:113::78';
      const fields = { sport: ++sport, dport: 89, syn: true } as const;
      sent(stage.packets.ingress(stage.packets.from(other, address).tcp(fields)));
      assert.equal(forwardingOf(sport), 'dsr');
    });

    test('a flow that begins with a fragment has no tunnel, and fragments of a tunnelled flow are tunnelled', () => {
      stage.world.apply(stage.packets.service(30_010, [stage.remote], udp));
      const [first] = datagram(30_010)
        .with('payload', { bytes: new Uint8Array(2000) })
        .fragments([1200]);
      sent(stage.packets.ingress(first!));
      assert.equal(forwardingOf(sport), 'snat');

      const small = datagram(30_010);
      assertPacket(sent(stage.packets.ingress(small)).bytes, leaving(small));
      const large = small.with('payload', { bytes: new Uint8Array(2000) });
      for (const part of large.fragments([1200], 77)) {
        assertPacket(sent(stage.packets.ingress(part)).bytes, leaving(part));
      }
    });

    test('a packet whose TTL expires is dropped before the tunnel', () => {
      stage.world.apply(stage.packets.service(30_011, [stage.remote], dsr));
      sent(stage.packets.ingress(request(30_011)));
      const old = ip(request(30_011), { ttl: 1 });
      const counted = stage.packets.drops(() =>
        assert.equal(stage.packets.ingress(old).verdict, 'drop'),
      );
      assert.deepEqual(counted, { 'the TTL or hop limit is exceeded': 1 });
    });

    test('when the backend is removed, connections are reset and UDP flows get another one', () => {
      stage.world.apply(
        stage.packets.service(30_012, [stage.remote], dsr),
        stage.packets.service(30_012, [stage.remote], udp),
      );
      const syn = request(30_012);
      sent(stage.packets.ingress(syn));
      const question = datagram(30_012);
      sent(stage.packets.ingress(question));
      stage.world.apply(
        stage.packets.service(30_012, [stage.local], dsr),
        stage.packets.service(30_012, [stage.local], udp),
      );
      const late = syn.with('tcp', { syn: false, ack: true, ackSeq: 5 });
      assert.equal(stage.packets.ingress(late).verdict, 'pass', 'the stack resets it');
      sent(stage.packets.ingress(question));
      assert.equal(forwardingOf(question.layer('udp')!.sport), 'local');
    });

    test('an ICMP error about a reply is tunnelled to the backend', () => {
      stage.world.apply(stage.packets.service(30_013, [stage.remote], dsr));
      sent(stage.packets.ingress(request(30_013)));
      const reply = stage.packets
        .to(stage.packets.node, client)
        .tcp({ sport: 30_013, dport: sport, ack: true, seq: 5, ackSeq: 1001 })
        .payload(1400);
      const router = end === 'v4' ? '203.0.113.1' : 'fd00:203:0:113::1';
      const error = stage.packets.icmp(
        stage.packets.from(router, stage.packets.node),
        tooBig,
        1400,
        stage.packets.bare(reply).first(overhead[end] + 28),
      );
      assertPacket(sent(stage.packets.ingress(error)).bytes, leaving(error));
    });
  });

  describe('at the node of the backend', () => {
    const pod = () => stage.world.node.pods[0]!;
    /** Returns the packet that the pod receives: translated, with a TTL lower by one. */
    const delivered = (packet: Packet) =>
      stage.packets.framed(
        ip(packet, { dst: stage.local, ttl: 63 }),
        stage.world.node.link(pod().nodeLink).address,
        pod().link('eth0').address,
      );

    test("the pod sees the client's address, and the client the other node's", () => {
      stage.world.apply(
        stage.packets.service(30_021, [stage.local], dsr),
        stage.packets.service(30_021, [stage.local], {
          ...dsr,
          key: 'nodeport',
          frontend: { address: end === 'v4' ? '0.0.0.0' : '::' },
        }),
      );
      const syn = request(30_021, stage.peer);
      assertPacket(
        sent(stage.packets.ingress(coming(syn))).bytes,
        delivered(syn.with('tcp', { dport: 8080 })),
      );
      const answer = stage.packets
        .from(stage.local, client, { ttl: 63 })
        .tcp({ sport: 8080, dport: sport, syn: true, ack: true, seq: 5, ackSeq: 1001 });
      const { verdict, packet } = stage.packets.egress(answer);
      assert.equal(verdict, 'pass', 'it is on its way already');
      assertPacket(packet.bytes, ip(answer, { src: stage.peer }).with('tcp', { sport: 30_021 }));
      assert.equal(flowOf(sport)?.state, 'syn-ack');
      const next = syn.with('tcp', { syn: false, ack: true, seq: 1001, ackSeq: 6 });
      assertPacket(
        sent(stage.packets.ingress(coming(next))).bytes,
        delivered(next.with('tcp', { dport: 8080 })),
      );
      assert.equal(flowOf(sport)?.state, 'established');
      assert.equal(forwardingOf(sport), 'local');
    });

    test('UDP packets to a load balancer address reach each of many backends', () => {
      const address = externals[end];
      const frontend = { kind: 'LoadBalancer', address } as const;
      stage.world.apply(
        stage.packets.service(81, [stage.remote, stage.local], { ...udp, frontend }),
      );
      for (let i = 0; i < 5; i++) {
        const question = datagram(81, address);
        assertPacket(
          sent(stage.packets.ingress(coming(question))).bytes,
          delivered(question.with('udp', { dport: 8080 })),
        );
      }
      const answer = stage.packets
        .from(stage.local, client)
        .udp({ sport: 8080, dport: sport })
        .payload('42');
      assertPacket(
        stage.packets.egress(answer).packet.bytes,
        ip(answer, { src: address }).with('udp', { sport: 81 }),
      );
    });

    test('fragments arrive, each in its own tunnel packet', () => {
      const address = externals[end];
      const frontend = { kind: 'LoadBalancer', address } as const;
      stage.world.apply(stage.packets.service(82, [stage.local], { ...udp, frontend }));
      sent(stage.packets.ingress(coming(datagram(82, address))));
      const large = stage.packets.from(client, address).udp({ sport, dport: 82 }).payload(2000);
      const arrived = large.with('udp', { dport: 8080 });
      const expected = ip(arrived, { dst: stage.local }).fragments([1200], 78);
      large.fragments([1200], 78).forEach((part, i) => {
        assertPacket(
          sent(stage.packets.ingress(coming(part))).bytes,
          stage.packets.framed(
            ip(expected[i]!, { ttl: 63 }),
            stage.world.node.link(pod().nodeLink).address,
            pod().link('eth0').address,
          ),
        );
      });
    });

    test('an ICMP error about a reply reaches the pod with its own addresses', () => {
      const address = externals[end];
      const frontend = { kind: 'LoadBalancer', address } as const;
      stage.world.apply(stage.packets.service(83, [stage.local], { ...dsr, frontend }));
      sent(stage.packets.ingress(coming(request(83, address))));
      const about = (src: string, port: number) =>
        stage.packets
          .bare(
            stage.packets
              .to(src, client)
              .tcp({ sport: port, dport: sport, ack: true, seq: 5, ackSeq: 1001 })
              .payload(1400),
          )
          .first(overhead[end] + 28);
      const router = end === 'v4' ? '203.0.113.1' : 'fd00:203:0:113::1';
      const error = (to: string, embedded: Packet, ttl: number) =>
        stage.packets.icmp(stage.packets.from(router, to, { ttl }), tooBig, 1400, embedded);
      assertPacket(
        sent(stage.packets.ingress(coming(error(address, about(address, 83), 64)))).bytes,
        stage.packets.framed(
          error(stage.local, about(stage.local, 8080), 63),
          stage.world.node.link(pod().nodeLink).address,
          pod().link('eth0').address,
        ),
      );
    });

    test('tunnel packets from unknown hosts or to other addresses are not decapsulated', () => {
      const address = externals[end];
      const frontend = { kind: 'LoadBalancer', address } as const;
      stage.world.apply(
        stage.packets.service(84, [stage.local, stage.remote], { ...dsr, frontend }),
      );
      const syn = request(84, address);
      const stranger = end === 'v4' ? '203.0.113.9' : 'fd00:203:0:113::9';
      const other = end === 'v4' ? '10.244.1.99' : 'fd00:10:244:1::99';
      const about = stage.packets.bare(
        stage.packets.to(address, client).tcp({ sport: 84, dport: 1 }),
      );
      const error = stage.packets.icmp(stage.packets.from(stranger, address), tooBig, 1400, about);
      const outer = coming(syn);
      const cases: Readonly<Record<string, Packet>> = {
        'not from a node': coming(syn, stranger),
        'a backend on another node': coming(syn, stage.peer, stage.remote),
        'not a backend': coming(syn, stage.peer, other),
        'to this node': coming(syn, stage.peer, stage.packets.node),
        'no service': coming(request(85, address)),
        'no service’s address': coming(request(84, other)),
        'another protocol': coming(datagram(84, address)),
        'a pod’s own packet': coming(request(84, stage.local)),
        'an error about nothing known': coming(error),
        'a tunnel in a tunnel': coming(stage.packets.bare(syn).within(coming(syn))),
        ...(end === 'v4'
          ? { options: outer.with('ipv4', { options: Uint8Array.of(1, 1, 1, 1) }) }
          : {
              options: coming(syn).within(
                eth({ src: outer.layer('eth')!.src!, dst: outer.layer('eth')!.dst! })
                  .ipv6({ src: stage.peer, dst: stage.local })
                  .extension('destination-options'),
              ),
            }),
      };
      for (const [name, packet] of Object.entries(cases)) {
        const { verdict, packet: left } = stage.packets.ingress(packet);
        assert.equal(verdict, 'pass', name);
        assertPacket(left.bytes, packet);
      }
      assert.equal(flowOf(syn.layer('tcp')!.sport), undefined);
      assertPacket(
        sent(stage.packets.ingress(outer)).bytes,
        delivered(syn.with('tcp', { dport: 8080 })),
      );
    });

    test('a tunnelled packet of no known connection is dropped; the other node answers the client', () => {
      const address = externals[end];
      const frontend = { kind: 'LoadBalancer', address } as const;
      stage.world.apply(stage.packets.service(86, [stage.local], { ...dsr, frontend }));
      const late = request(86, address).with('tcp', { syn: false, ack: true });
      const counted = stage.packets.drops(() =>
        assert.equal(stage.packets.ingress(coming(late)).verdict, 'drop'),
      );
      assert.deepEqual(counted, { 'the packet belongs to no known connection': 1 });
    });

    test('the backend that the other node chose has precedence', () => {
      const address = externals[end];
      const frontend = { kind: 'LoadBalancer', address } as const;
      stage.world.apply(stage.packets.service(87, [stage.remote], { ...udp, frontend }));
      const question = datagram(87, address);
      assertPacket(sent(stage.packets.ingress(question)).bytes, leaving(question));
      stage.world.apply(
        stage.packets.service(87, [stage.remote, stage.local], { ...udp, frontend }),
      );
      assertPacket(
        sent(stage.packets.ingress(coming(question))).bytes,
        delivered(question.with('udp', { dport: 8080 })),
      );
      assert.equal(forwardingOf(sport), 'local');
    });

    test('a client that reuses a port reaches a backend that was removed and added again', () => {
      const address = externals[end];
      const frontend = { kind: 'LoadBalancer', address } as const;
      for (const [port, options, question] of [
        [88, dsr, request(88, address)],
        [89, udp, datagram(89, address)],
      ] as const) {
        for (const backends of [[stage.local], [stage.remote], [stage.local]]) {
          stage.world.apply(stage.packets.service(port, backends, { ...options, frontend }));
          if (backends[0] === stage.remote) continue;
          const { layers } = sent(stage.packets.ingress(coming(question)));
          assert.partialDeepStrictEqual(layers[1], { dst: stage.local });
        }
      }
    });
  });
});
