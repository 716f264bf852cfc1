import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertPacket, type Packet } from '@heddle/lab';
import { externals } from '../../testing/node-packets.ts';
import { packetSuite, sent } from '../../testing/packet-suite.ts';

const unreachable = { v4: 'port-unreachable', v6: 'port-unreachable' };
const tooBig = { v4: 'fragmentation-needed', v6: 'packet-too-big' };

packetSuite('packets at a network interface', { name: 'packets', pods: 1 }, (stage) => {
  const { end, client, withIp: ip } = stage;
  let sport = 20_000;

  const request = (dport: number, to = stage.packets.node, more: { ttl?: number } = {}) =>
    stage.packets.from(client, to, more).tcp({ sport: ++sport, dport, syn: true, seq: 1000 });
  const datagram = (dport: number, to = stage.packets.node) =>
    stage.packets.from(client, to).udp({ sport: ++sport, dport }).payload('question');

  test("a packet to a local backend keeps the client's address and port", () => {
    stage.world.apply(stage.packets.service(30_001, [stage.local]));
    const packet = request(30_001);
    const pod = stage.world.node.pods[0]!;
    const veth = stage.world.node.link(pod.nodeLink).address;
    const expected = ip(packet, { dst: stage.local, ttl: 63 }).with('tcp', { dport: 8080 });
    assertPacket(
      sent(stage.packets.ingress(packet)).bytes,
      stage.packets.framed(expected, veth, pod.link('eth0').address),
    );
    const answer = stage.packets
      .from(stage.local, client, { ttl: 63 })
      .tcp({ sport: 8080, dport: sport, syn: true, ack: true, seq: 5, ackSeq: 1001 });
    const { verdict, packet: translated } = stage.packets.egress(answer);
    assert.equal(verdict, 'pass', 'it is on its way already');
    assertPacket(
      translated.bytes,
      ip(answer, { src: stage.packets.node }).with('tcp', { sport: 30_001 }),
    );
  });

  test("a packet to a remote backend gets the node's address and an SNAT port", () => {
    stage.world.apply(stage.packets.service(30_002, [stage.remote]));
    const packet = request(30_002);
    const away = sent(stage.packets.ingress(packet));
    const port = away.layers.find((layer) => layer.kind === 'tcp')!.sport;
    assert.ok(port >= 1024 && port < 30_000);
    const other = stage.world.lab.nodes[1]!.link('eth0').address;
    const own = stage.world.node.link('eth0').address;
    const expected = ip(packet, { src: stage.packets.node, dst: stage.remote, ttl: 63 });
    assertPacket(
      away.bytes,
      stage.packets.framed(expected.with('tcp', { sport: port, dport: 8080 }), own, other),
    );
    const answer = stage.packets
      .from(stage.remote, stage.packets.node)
      .tcp({ sport: 8080, dport: port, syn: true, ack: true, seq: 5, ackSeq: 1001 });
    assertPacket(
      sent(stage.packets.ingress(answer)).bytes,
      stage.packets
        .to(stage.packets.node, client, { ttl: 63 })
        .tcp({ sport: 30_002, dport: sport, syn: true, ack: true, seq: 5, ackSeq: 1001 }),
    );
  });

  test('UDP datagrams are translated, also without a checksum over IPv4', () => {
    stage.world.apply(stage.packets.service(30_003, [stage.remote], { protocol: 'UDP' }));
    for (const checksum of end === 'v4' ? (['none', undefined] as const) : [undefined]) {
      const packet = datagram(30_003).with('udp', checksum ? { checksum } : {});
      const away = sent(stage.packets.ingress(packet));
      const port = away.layers.find((layer) => layer.kind === 'udp')!.sport;
      const expected = ip(packet, { src: stage.packets.node, dst: stage.remote, ttl: 63 });
      assertPacket(
        away.bytes,
        stage.packets.framed(
          expected.with('udp', { sport: port, dport: 8080 }),
          stage.world.node.link('eth0').address,
          stage.world.lab.nodes[1]!.link('eth0').address,
        ),
      );
    }
  });

  test('an SCTP INIT creates a flow, and the checksum covers the new ports', () => {
    stage.world.apply(stage.packets.service(30_014, [stage.remote], { protocol: 'SCTP' }));
    for (const length of [0, 1, 100, 1333]) {
      const value = new Uint8Array(length).map((_, i) => i * 7);
      const packet = stage.packets
        .from(client, stage.packets.node)
        .sctp({ sport: ++sport, dport: 30_014, tag: 0, chunks: [{ type: 'init', value }] });
      const away = sent(stage.packets.ingress(packet));
      const port = away.layers.find((layer) => layer.kind === 'sctp')!.sport;
      const expected = ip(packet, { src: stage.packets.node, dst: stage.remote, ttl: 63 });
      assertPacket(
        away.bytes,
        stage.packets.framed(
          expected.with('sctp', { sport: port, dport: 8080 }),
          stage.world.node.link('eth0').address,
          stage.world.lab.nodes[1]!.link('eth0').address,
        ),
      );
      const answer = stage.packets
        .from(stage.remote, stage.packets.node)
        .sctp({ sport: 8080, dport: port, tag: 5, chunks: [{ type: 'init-ack', value }] });
      assertPacket(
        sent(stage.packets.ingress(answer)).bytes,
        stage.packets
          .to(stage.packets.node, client, { ttl: 63 })
          .sctp({ sport: 30_014, dport: sport, tag: 5, chunks: [{ type: 'init-ack', value }] }),
      );
    }
    const stray = stage.packets.from(client, stage.packets.node).sctp({
      sport: 1,
      dport: 30_014,
      tag: 9,
      chunks: [{ type: 'data', value: new Uint8Array(8) }],
    });
    // The node's own SCTP may have that port.
    assert.equal(stage.packets.ingress(stray).verdict, 'pass');
  });

  test('a service without endpoints answers TCP with a reset and UDP with an ICMP error', () => {
    stage.world.apply(
      stage.packets.service(30_004, []),
      stage.packets.service(30_004, [], { protocol: 'UDP', key: 'udp without endpoints' }),
    );
    const syn = request(30_004);
    const counted = stage.packets.drops(() => {
      assertPacket(
        sent(stage.packets.ingress(syn)).bytes,
        ip(stage.packets.to(stage.packets.node, client, { df: true }), {}).tcp({
          ...{ sport: 30_004, dport: sport, rst: true, ack: true, ackSeq: 1001, window: 0 },
        }),
      );
      const question = datagram(30_004);
      const header = end === 'v4' ? 20 : 40;
      assertPacket(
        sent(stage.packets.ingress(question)).bytes,
        stage.packets.icmp(
          stage.packets.to(stage.packets.node, client, { df: true }),
          unreachable,
          undefined,
          stage.packets.bare(question).first(header + 8),
        ),
      );
    });
    assert.deepEqual(counted, { 'no endpoints': 2 });
  });

  test('an echo request to a service address is answered, one to the node is passed', () => {
    const address = externals[end];
    stage.world.apply(
      stage.packets.service(80, [stage.remote], { frontend: { kind: 'LoadBalancer', address } }),
    );
    const echo = (packet: Packet, type: 'echo-request' | 'echo-reply') =>
      (end === 'v4'
        ? packet.icmp({ type, id: 7, sequence: 3 })
        : packet.icmpv6({ type, id: 7, sequence: 3 })
      ).payload('are you there?');
    assertPacket(
      sent(stage.packets.ingress(echo(stage.packets.from(client, address), 'echo-request'))).bytes,
      echo(stage.packets.to(address, client), 'echo-reply'),
    );
    const own = echo(stage.packets.from(client, stage.packets.node), 'echo-request');
    assert.equal(stage.packets.ingress(own).verdict, 'pass');
  });

  if (end === 'v4') {
    test('a packet with a wrong header checksum creates no flow and gets no answer', () => {
      const address = externals[end];
      const frontend = { kind: 'LoadBalancer', address } as const;
      stage.world.apply(
        stage.packets.service(30_014, [stage.remote]),
        stage.packets.service(30_015, []),
        stage.packets.service(30_016, [stage.remote], { frontend, key: 'echo' }),
      );
      const echo = { type: 'echo-request', id: 1, sequence: 1 } as const;
      const whole = [
        request(30_014),
        request(30_015),
        request(30_016, address).with('tcp', { syn: false, ack: true }),
        stage.packets.from(client, address).icmp(echo).payload('ping'),
      ];
      // Type of service, identification, both halves of the checksum, and the source.
      const places = [1, 4, 10, 11, 12, 15].map((at) => 14 + at);
      const before = stage.world.flowKeys;
      const counted = stage.packets.drops(() => {
        for (const { bytes } of whole) {
          for (const at of places) {
            const damaged = bytes.slice();
            damaged[at]! ^= 0x10;
            assert.equal(stage.packets.ingress(damaged).verdict, 'drop', `byte ${at}`);
          }
        }
      });
      assert.deepEqual(counted, {
        'a header is truncated, invalid or has a wrong checksum': whole.length * places.length,
      });
      assert.equal(stage.world.flowKeys, before);
    });

    test('the checksum of an IPv4 header covers its options', () => {
      stage.world.apply(stage.packets.service(30_017, [stage.remote]));
      const withOptions = (damage: number) => {
        const options = new Uint8Array(40).fill(1);
        const { bytes } = request(30_017).with('ipv4', { options });
        bytes[14 + 59]! ^= damage;
        return bytes;
      };
      assert.equal(stage.packets.ingress(withOptions(1)).verdict, 'drop');
      assert.equal(stage.packets.ingress(withOptions(0)).verdict, 'send');
    });
  }

  test('a frame of a VLAN or for another host is passed unchanged', () => {
    stage.world.apply(stage.packets.service(30_013, [stage.remote]));
    const other = request(30_013).with('eth', { dst: '02:00:00:00:99:99' });
    assert.equal(stage.packets.ingress(other).verdict, 'pass');
    const { bytes } = request(30_013);
    const tagged = new Uint8Array(bytes.length + 4);
    tagged.set(bytes.subarray(0, 12));
    tagged.set([0x81, 0, 0, 5], 12);
    tagged.set(bytes.subarray(12), 16);
    assert.equal(stage.packets.ingress(tagged).verdict, 'pass');
  });

  test('a segment of no known connection is answered with a reset that the sender accepts', () => {
    const address = externals[end];
    stage.world.apply(
      stage.packets.service(30_005, [stage.remote]),
      stage.packets.service(30_005, [stage.remote], {
        frontend: { kind: 'LoadBalancer', address },
        key: 'external',
      }),
    );
    const late = (to: string) =>
      stage.packets
        .from(client, to)
        .tcp({ sport: 4000, dport: 30_005, ack: true, psh: true, seq: 77, ackSeq: 4711 })
        .payload('late');
    const stray = late(address);
    assert.equal(
      stage.packets.ingress(late(stage.packets.node)).verdict,
      'pass',
      'the stack resets it',
    );
    const counted = stage.packets.drops(() => {
      assertPacket(
        sent(stage.packets.ingress(stray)).bytes,
        stage.packets
          .to(address, client, { df: true })
          .tcp({ sport: 30_005, dport: 4000, rst: true, seq: 4711, window: 0 }),
      );
      const reset = stray.with('tcp', { rst: true });
      assert.equal(stage.packets.ingress(reset).verdict, 'drop', 'no reset for a reset');
    });
    assert.deepEqual(counted, { 'the packet belongs to no known connection': 2 });
  });

  test('externalTrafficPolicy Local drops packets without an answer when there is no local endpoint', () => {
    stage.world.apply(
      stage.packets.service(30_006, [stage.remote], { key: 'for everybody' }),
      stage.packets.service(30_006, [], { key: 'outside', scope: 'outside', silent: true }),
    );
    const counted = stage.packets.drops(() => {
      assert.equal(stage.packets.ingress(request(30_006)).verdict, 'drop');
    });
    assert.deepEqual(counted, {
      'no endpoint on this node, and externalTrafficPolicy is Local': 1,
    });
  });

  test("packets to other ports are dropped at a service address, and passed at the node's address", () => {
    const address = externals[end];
    stage.world.apply(
      stage.packets.service(80, [stage.remote], { frontend: { kind: 'LoadBalancer', address } }),
    );
    assert.equal(stage.packets.ingress(request(80, address)).verdict, 'send');
    const counted = stage.packets.drops(() => {
      assert.equal(stage.packets.ingress(request(81, address)).verdict, 'drop');
    });
    assert.deepEqual(counted, { 'the service does not have this port': 1 });
    assert.equal(stage.packets.ingress(request(22)).verdict, 'pass');
    assert.equal(
      stage.packets.ingress(request(80, stage.remote)).verdict,
      'pass',
      'routed through',
    );
  });

  test('protocols that services do not support are dropped at a service address', () => {
    const address = externals[end];
    stage.world.apply(
      stage.packets.service(80, [stage.remote], { frontend: { kind: 'LoadBalancer', address } }),
    );
    const plain = stage.packets.from(client, address);
    const counted = stage.packets.drops(() => {
      const cut = plain.tcp({ sport: 1, dport: 80 }).bytes;
      assert.equal(stage.packets.ingress(cut.subarray(0, cut.length - 15)).verdict, 'drop');
      const odd =
        end === 'v4'
          ? plain.with('ipv4', { protocol: 99 })
          : plain.with('ipv6', { nextHeader: 99 });
      assert.equal(stage.packets.ingress(odd.payload(20)).verdict, 'drop');
    });
    assert.deepEqual(counted, {
      'a header is truncated, invalid or has a wrong checksum': 1,
      'services do not support this protocol': 1,
    });
    assert.equal(
      stage.packets.ingress(
        plain.with(end === 'v4' ? 'ipv4' : 'ipv6', { dst: stage.packets.node }).payload(20),
      ).verdict,
      'pass',
    );
  });

  for (const where of ['local', 'remote'] as const) {
    test(`fragments to a ${where} backend and of its reply are translated`, () => {
      const backend = where === 'local' ? stage.local : stage.remote;
      const dport = where === 'local' ? 30_010 : 30_011;
      stage.world.apply(stage.packets.service(dport, [backend], { protocol: 'UDP' }));
      const question = stage.packets
        .from(client, stage.packets.node)
        .udp({ sport: ++sport, dport })
        .payload(3000);
      const parts = question.fragments([1440, 1440, 128], 7);
      const there = parts.map((part) => sent(stage.packets.ingress(part)));
      const first = there[0]!.layers.find((layer) => layer.kind === 'udp')!;
      const seen = where === 'local' ? client : stage.packets.node;
      const expected = ip(question, { src: seen, dst: backend, ttl: 63 }).with('udp', {
        sport: first.sport,
        dport: 8080,
      });
      const frame = there[0]!.layers[0]!;
      assert.ok(frame.kind === 'eth');
      for (const [i, part] of expected.fragments([1440, 1440, 128], 7).entries()) {
        assertPacket(there[i]!.bytes, stage.packets.framed(part, frame.src!, frame.dst!));
      }
      const answer = stage.packets
        .from(backend, seen)
        .udp({ sport: 8080, dport: first.sport })
        .payload(2000);
      const back = answer.fragments([1000, 1008], 8).map((part) => {
        if (where === 'remote') return sent(stage.packets.ingress(part));
        const { verdict, packet } = stage.packets.egress(part);
        assert.equal(verdict, 'pass');
        return packet;
      });
      const ttl = where === 'local' ? 64 : 63;
      const told = ip(answer, { src: stage.packets.node, dst: client, ttl }).with('udp', {
        sport: dport,
        dport: sport,
      });
      for (const [i, part] of told.fragments([1000, 1008], 8).entries()) {
        const { src, dst } = back[i]!.layers[0] as { src: string; dst: string };
        assertPacket(back[i]!.bytes, stage.packets.framed(part, src, dst));
      }
    });
  }

  test('a fragment that arrives before the first one is sent after it', () => {
    stage.world.apply(stage.packets.service(30_012, [stage.remote], { protocol: 'UDP' }));
    const question = stage.packets
      .from(client, stage.packets.node)
      .udp({ sport: ++sport, dport: 30_012 })
      .payload(100);
    const [first, later] = question.fragments([56, 56], 11);
    // It is sent to the end of the interface's queue, unchanged.
    assertPacket(sent(stage.packets.ingress(later!)).bytes, later!);
    stage.packets.ingress(first!);
    const away = sent(stage.packets.ingress(later!));
    const header = away.layers.find(({ kind }) => kind === 'ipv4' || kind === 'ipv6')!;
    assert.equal('dst' in header && header.dst, stage.remote);
  });

  test('a packet whose TTL expires is dropped', () => {
    stage.world.apply(stage.packets.service(30_007, [stage.remote]));
    const counted = stage.packets.drops(() => {
      assert.equal(
        stage.packets.ingress(request(30_007, stage.packets.node, { ttl: 1 })).verdict,
        'drop',
      );
    });
    assert.deepEqual(counted, { 'the TTL or hop limit is exceeded': 1 });
  });

  test('a packet larger than the MTU of the next hop is answered with an ICMP error', () => {
    stage.world.apply(stage.packets.service(30_008, [stage.remote], { protocol: 'UDP' }));
    const large = stage.packets
      .from(client, stage.packets.node, { df: true })
      .udp({ sport: ++sport, dport: 30_008 })
      .payload(1600);
    const counted = stage.packets.drops(() => {
      const { layers } = sent(stage.packets.ingress(large));
      const error = layers.find(({ kind }) => kind === 'icmp' || kind === 'icmpv6');
      assert.ok(error && 'mtu' in error);
      assert.equal(error.mtu, 1500);
      assert.equal(error.type, tooBig[end]);
    });
    assert.deepEqual(counted, {
      'larger than the MTU of the next hop; the sender got an ICMP error': 1,
    });
  });
});
