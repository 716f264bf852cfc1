import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { assertPacket, type Packet } from '@heddle/lab';
import {
  clients,
  doors,
  type End,
  externals,
  NodePackets,
  xdpOf,
} from '../../testing/node-packets.ts';
import { World } from '../../testing/world.ts';

const unreachable = { v4: 'port-unreachable', v6: 'port-unreachable' };
const tooBig = { v4: 'fragmentation-needed', v6: 'packet-too-big' };

for (const door of doors) {
  for (const end of ['v4', 'v6'] as const satisfies End[]) {
    describe(`packets on a node's device, by ${door}, ${end}`, () => {
      let world: World;
      let packets: NodePackets;
      let local: string;
      let remote: string;
      let sport = 20_000;
      before(() => {
        world = new World(`packets-${end}`, 1, {
          lab: { nodes: 2 },
          mirrored: true,
          xdp: xdpOf(door),
        });
        world.serveOutside();
        packets = new NodePackets(world, end);
        local = world.node.pods[0]!.addresses[end];
        remote = world.lab.nodes[1]!.pods[0]!.addresses[end];
      });
      after(() => world?.[Symbol.dispose]());

      const client = clients[end];
      const request = (dport: number, to = packets.node, more: { ttl?: number } = {}) =>
        packets.from(client, to, more).tcp({ sport: ++sport, dport, syn: true, seq: 1000 });
      const datagram = (dport: number, to = packets.node) =>
        packets.from(client, to).udp({ sport: ++sport, dport }).payload('question');
      const ip = (packet: Packet, fields: { src?: string; dst?: string; ttl?: number }) =>
        end === 'v4'
          ? packet.with('ipv4', fields)
          : packet.with('ipv6', {
              ...(fields.src ? { src: fields.src } : {}),
              ...(fields.dst ? { dst: fields.dst } : {}),
              ...(fields.ttl ? { hopLimit: fields.ttl } : {}),
            });
      const sent = (outcome: ReturnType<NodePackets['ingress']>) => {
        assert.equal(outcome.verdict, 'send');
        return outcome.packet;
      };

      test('to a backend here: the client keeps its address and port', () => {
        world.apply(packets.service(30_001, [local]));
        const packet = request(30_001);
        const pod = world.node.pods[0]!;
        const veth = world.node.link(pod.nodeLink).address;
        const expected = ip(packet, { dst: local, ttl: 63 }).with('tcp', { dport: 8080 });
        assertPacket(
          sent(packets.ingress(packet)).bytes,
          packets.framed(expected, veth, pod.link('eth0').address),
        );
        const answer = packets
          .from(local, client, { ttl: 63 })
          .tcp({ sport: 8080, dport: sport, syn: true, ack: true, seq: 5, ackSeq: 1001 });
        const { verdict, packet: translated } = packets.egress(answer);
        assert.equal(verdict, 'pass', 'it is on its way already');
        assertPacket(
          translated.bytes,
          ip(answer, { src: packets.node }).with('tcp', { sport: 30_001 }),
        );
      });

      test('to a backend elsewhere: from the node, by a port that stands for the client', () => {
        world.apply(packets.service(30_002, [remote]));
        const packet = request(30_002);
        const away = sent(packets.ingress(packet));
        const port = away.layers.find((layer) => layer.kind === 'tcp')!.sport;
        assert.ok(port >= 1024 && port < 30_000);
        const other = world.lab.nodes[1]!.link('eth0').address;
        const own = world.node.link('eth0').address;
        const expected = ip(packet, { src: packets.node, dst: remote, ttl: 63 });
        assertPacket(
          away.bytes,
          packets.framed(expected.with('tcp', { sport: port, dport: 8080 }), own, other),
        );
        const answer = packets
          .from(remote, packets.node)
          .tcp({ sport: 8080, dport: port, syn: true, ack: true, seq: 5, ackSeq: 1001 });
        assertPacket(
          sent(packets.ingress(answer)).bytes,
          packets
            .to(packets.node, client, { ttl: 63 })
            .tcp({ sport: 30_002, dport: sport, syn: true, ack: true, seq: 5, ackSeq: 1001 }),
        );
      });

      test('UDP, also without a checksum where IPv4 allows it', () => {
        world.apply(packets.service(30_003, [remote], { protocol: 'UDP' }));
        for (const checksum of end === 'v4' ? (['none', undefined] as const) : [undefined]) {
          const packet = datagram(30_003).with('udp', checksum ? { checksum } : {});
          const away = sent(packets.ingress(packet));
          const port = away.layers.find((layer) => layer.kind === 'udp')!.sport;
          const expected = ip(packet, { src: packets.node, dst: remote, ttl: 63 });
          assertPacket(
            away.bytes,
            packets.framed(
              expected.with('udp', { sport: port, dport: 8080 }),
              world.node.link('eth0').address,
              world.lab.nodes[1]!.link('eth0').address,
            ),
          );
        }
      });

      test('SCTP: an INIT begins, and the checksum is of the new ports', () => {
        world.apply(packets.service(30_014, [remote], { protocol: 'SCTP' }));
        for (const length of [0, 1, 100, 1333]) {
          const value = new Uint8Array(length).map((_, i) => i * 7);
          const packet = packets
            .from(client, packets.node)
            .sctp({ sport: ++sport, dport: 30_014, tag: 0, chunks: [{ type: 'init', value }] });
          const away = sent(packets.ingress(packet));
          const port = away.layers.find((layer) => layer.kind === 'sctp')!.sport;
          const expected = ip(packet, { src: packets.node, dst: remote, ttl: 63 });
          assertPacket(
            away.bytes,
            packets.framed(
              expected.with('sctp', { sport: port, dport: 8080 }),
              world.node.link('eth0').address,
              world.lab.nodes[1]!.link('eth0').address,
            ),
          );
          const answer = packets
            .from(remote, packets.node)
            .sctp({ sport: 8080, dport: port, tag: 5, chunks: [{ type: 'init-ack', value }] });
          assertPacket(
            sent(packets.ingress(answer)).bytes,
            packets
              .to(packets.node, client, { ttl: 63 })
              .sctp({ sport: 30_014, dport: sport, tag: 5, chunks: [{ type: 'init-ack', value }] }),
          );
        }
        const stray = packets.from(client, packets.node).sctp({
          sport: 1,
          dport: 30_014,
          tag: 9,
          chunks: [{ type: 'data', value: new Uint8Array(8) }],
        });
        // The node's own SCTP may have that port.
        assert.equal(packets.ingress(stray).verdict, 'pass');
      });

      test('no endpoints: a reset for TCP, an ICMP error for UDP', () => {
        world.apply(
          packets.service(30_004, []),
          packets.service(30_004, [], { protocol: 'UDP', key: 'udp without endpoints' }),
        );
        const syn = request(30_004);
        const counted = packets.drops(() => {
          assertPacket(
            sent(packets.ingress(syn)).bytes,
            ip(packets.to(packets.node, client, { df: true }), {}).tcp({
              ...{ sport: 30_004, dport: sport, rst: true, ack: true, ackSeq: 1001, window: 0 },
            }),
          );
          const question = datagram(30_004);
          const header = end === 'v4' ? 20 : 40;
          assertPacket(
            sent(packets.ingress(question)).bytes,
            packets.icmp(
              packets.to(packets.node, client, { df: true }),
              unreachable,
              undefined,
              packets.bare(question).first(header + 8),
            ),
          );
        });
        assert.deepEqual(counted, { 'no endpoints': 2 });
      });

      test('an echo request to a service address is answered, one to the node goes there', () => {
        const address = externals[end];
        world.apply(packets.service(80, [remote], { frontend: { kind: 'LoadBalancer', address } }));
        const echo = (packet: Packet, type: 'echo-request' | 'echo-reply') =>
          (end === 'v4'
            ? packet.icmp({ type, id: 7, sequence: 3 })
            : packet.icmpv6({ type, id: 7, sequence: 3 })
          ).payload('are you there?');
        assertPacket(
          sent(packets.ingress(echo(packets.from(client, address), 'echo-request'))).bytes,
          echo(packets.to(address, client), 'echo-reply'),
        );
        const own = echo(packets.from(client, packets.node), 'echo-request');
        assert.equal(packets.ingress(own).verdict, 'pass');
      });

      if (end === 'v4') {
        test('a header with a wrong checksum makes no flow and gets no answer', () => {
          const address = externals[end];
          const frontend = { kind: 'LoadBalancer', address } as const;
          world.apply(
            packets.service(30_014, [remote]),
            packets.service(30_015, []),
            packets.service(30_016, [remote], { frontend, key: 'echo' }),
          );
          const echo = { type: 'echo-request', id: 1, sequence: 1 } as const;
          const whole = [
            request(30_014),
            request(30_015),
            request(30_016, address).with('tcp', { syn: false, ack: true }),
            packets.from(client, address).icmp(echo).payload('ping'),
          ];
          // Type of service, identification, both halves of the checksum, and the source.
          const places = [1, 4, 10, 11, 12, 15].map((at) => 14 + at);
          const before = world.flowKeys;
          const counted = packets.drops(() => {
            for (const { bytes } of whole) {
              for (const at of places) {
                const damaged = bytes.slice();
                damaged[at]! ^= 0x10;
                assert.equal(packets.ingress(damaged).verdict, 'drop', `byte ${at}`);
              }
            }
          });
          assert.deepEqual(counted, {
            'a header is truncated, invalid or has a wrong checksum': whole.length * places.length,
          });
          assert.equal(world.flowKeys, before);
        });

        test('the checksum covers the options of a header', () => {
          world.apply(packets.service(30_017, [remote]));
          const withOptions = (damage: number) => {
            const options = new Uint8Array(40).fill(1);
            const { bytes } = request(30_017).with('ipv4', { options });
            bytes[14 + 59]! ^= damage;
            return bytes;
          };
          assert.equal(packets.ingress(withOptions(1)).verdict, 'drop');
          assert.equal(packets.ingress(withOptions(0)).verdict, 'send');
        });
      }

      test('a frame of a VLAN or for another host is left alone', () => {
        world.apply(packets.service(30_013, [remote]));
        const other = request(30_013).with('eth', { dst: '02:00:00:00:99:99' });
        assert.equal(packets.ingress(other).verdict, 'pass');
        const { bytes } = request(30_013);
        const tagged = new Uint8Array(bytes.length + 4);
        tagged.set(bytes.subarray(0, 12));
        tagged.set([0x81, 0, 0, 5], 12);
        tagged.set(bytes.subarray(12), 16);
        assert.equal(packets.ingress(tagged).verdict, 'pass');
      });

      test('a segment of no known connection is answered with a reset that the sender takes', () => {
        const address = externals[end];
        world.apply(
          packets.service(30_005, [remote]),
          packets.service(30_005, [remote], {
            frontend: { kind: 'LoadBalancer', address },
            key: 'external',
          }),
        );
        const late = (to: string) =>
          packets
            .from(client, to)
            .tcp({ sport: 4000, dport: 30_005, ack: true, psh: true, seq: 77, ackSeq: 4711 })
            .payload('late');
        const stray = late(address);
        assert.equal(packets.ingress(late(packets.node)).verdict, 'pass', 'the stack resets it');
        const counted = packets.drops(() => {
          assertPacket(
            sent(packets.ingress(stray)).bytes,
            packets
              .to(address, client, { df: true })
              .tcp({ sport: 30_005, dport: 4000, rst: true, seq: 4711, window: 0 }),
          );
          const reset = stray.with('tcp', { rst: true });
          assert.equal(packets.ingress(reset).verdict, 'drop', 'no reset for a reset');
        });
        assert.deepEqual(counted, { 'the packet belongs to no known connection': 2 });
      });

      test('a service without an endpoint here and externalTrafficPolicy Local is silent', () => {
        world.apply(
          packets.service(30_006, [remote], { key: 'for everybody' }),
          packets.service(30_006, [], { key: 'outside', scope: 'outside', silent: true }),
        );
        const counted = packets.drops(() => {
          assert.equal(packets.ingress(request(30_006)).verdict, 'drop');
        });
        assert.deepEqual(counted, {
          'no endpoint on this node, and externalTrafficPolicy is Local': 1,
        });
      });

      test('other ports: dropped at a service address, the node’s own business at its own', () => {
        const address = externals[end];
        world.apply(packets.service(80, [remote], { frontend: { kind: 'LoadBalancer', address } }));
        assert.equal(packets.ingress(request(80, address)).verdict, 'send');
        const counted = packets.drops(() => {
          assert.equal(packets.ingress(request(81, address)).verdict, 'drop');
        });
        assert.deepEqual(counted, { 'the service does not have this port': 1 });
        assert.equal(packets.ingress(request(22)).verdict, 'pass');
        assert.equal(packets.ingress(request(80, remote)).verdict, 'pass', 'routed through');
      });

      test('what no service can have to do with is dropped at a service address', () => {
        const address = externals[end];
        world.apply(packets.service(80, [remote], { frontend: { kind: 'LoadBalancer', address } }));
        const plain = packets.from(client, address);
        const counted = packets.drops(() => {
          const cut = plain.tcp({ sport: 1, dport: 80 }).bytes;
          assert.equal(packets.ingress(cut.subarray(0, cut.length - 15)).verdict, 'drop');
          const odd =
            end === 'v4'
              ? plain.with('ipv4', { protocol: 99 })
              : plain.with('ipv6', { nextHeader: 99 });
          assert.equal(packets.ingress(odd.payload(20)).verdict, 'drop');
        });
        assert.deepEqual(counted, {
          'a header is truncated, invalid or has a wrong checksum': 1,
          'services do not support this protocol': 1,
        });
        assert.equal(
          packets.ingress(
            plain.with(end === 'v4' ? 'ipv4' : 'ipv6', { dst: packets.node }).payload(20),
          ).verdict,
          'pass',
        );
      });

      for (const where of ['local', 'remote'] as const) {
        test(`fragments to a ${where} backend, and of the answer`, () => {
          const backend = where === 'local' ? local : remote;
          const dport = where === 'local' ? 30_010 : 30_011;
          world.apply(packets.service(dport, [backend], { protocol: 'UDP' }));
          const question = packets
            .from(client, packets.node)
            .udp({ sport: ++sport, dport })
            .payload(3000);
          const parts = question.fragments([1440, 1440, 128], 7);
          const there = parts.map((part) => sent(packets.ingress(part)));
          const first = there[0]!.layers.find((layer) => layer.kind === 'udp')!;
          const seen = where === 'local' ? client : packets.node;
          const expected = ip(question, { src: seen, dst: backend, ttl: 63 }).with('udp', {
            sport: first.sport,
            dport: 8080,
          });
          const frame = there[0]!.layers[0]!;
          assert.ok(frame.kind === 'eth');
          for (const [i, part] of expected.fragments([1440, 1440, 128], 7).entries()) {
            assertPacket(there[i]!.bytes, packets.framed(part, frame.src!, frame.dst!));
          }
          const answer = packets
            .from(backend, seen)
            .udp({ sport: 8080, dport: first.sport })
            .payload(2000);
          const back = answer.fragments([1000, 1008], 8).map((part) => {
            if (where === 'remote') return sent(packets.ingress(part));
            const { verdict, packet } = packets.egress(part);
            assert.equal(verdict, 'pass');
            return packet;
          });
          const ttl = where === 'local' ? 64 : 63;
          const told = ip(answer, { src: packets.node, dst: client, ttl }).with('udp', {
            sport: dport,
            dport: sport,
          });
          for (const [i, part] of told.fragments([1000, 1008], 8).entries()) {
            const { src, dst } = back[i]!.layers[0] as { src: string; dst: string };
            assertPacket(back[i]!.bytes, packets.framed(part, src, dst));
          }
        });
      }

      test('a fragment that overtakes the first has its turn behind it', () => {
        world.apply(packets.service(30_012, [remote], { protocol: 'UDP' }));
        const question = packets
          .from(client, packets.node)
          .udp({ sport: ++sport, dport: 30_012 })
          .payload(100);
        const [first, later] = question.fragments([56, 56], 11);
        // To the end of the queue of this device, as it is.
        assertPacket(sent(packets.ingress(later!)).bytes, later!);
        packets.ingress(first!);
        const away = sent(packets.ingress(later!));
        const header = away.layers.find(({ kind }) => kind === 'ipv4' || kind === 'ipv6')!;
        assert.equal('dst' in header && header.dst, remote);
      });

      test('a packet at the end of its life goes no further', () => {
        world.apply(packets.service(30_007, [remote]));
        const counted = packets.drops(() => {
          assert.equal(packets.ingress(request(30_007, packets.node, { ttl: 1 })).verdict, 'drop');
        });
        assert.deepEqual(counted, { 'the TTL or hop limit is exceeded': 1 });
      });

      test('a packet larger than the next link takes: the sender hears of it', () => {
        world.apply(packets.service(30_008, [remote], { protocol: 'UDP' }));
        const large = packets
          .from(client, packets.node, { df: true })
          .udp({ sport: ++sport, dport: 30_008 })
          .payload(1600);
        const counted = packets.drops(() => {
          const { layers } = sent(packets.ingress(large));
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
  }
}
