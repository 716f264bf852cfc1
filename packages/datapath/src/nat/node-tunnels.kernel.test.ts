import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { assertPacket, eth, type Packet } from '@heddle/lab';
import {
  clients,
  doors,
  type End,
  externals,
  NodePackets,
  xdpOf,
} from '../../testing/node-packets.ts';
import { World } from '../../testing/world.ts';

const tooBig = { v4: 'fragmentation-needed', v6: 'packet-too-big' };
const overhead = { v4: 20, v6: 40 };

for (const door of doors) {
  for (const end of ['v4', 'v6'] as const satisfies End[]) {
    describe(`packets in tunnels between nodes, by ${door}, ${end}`, () => {
      let world: World;
      let packets: NodePackets;
      let local: string;
      let remote: string;
      let peer: string;
      let sport = 20_000;
      before(() => {
        world = new World(`tunnels-${end}`, 2, {
          lab: { nodes: 2 },
          mirrored: true,
          xdp: xdpOf(door),
        });
        world.serveOutside();
        packets = new NodePackets(world, end);
        local = world.node.pods[0]!.addresses[end];
        remote = world.lab.nodes[1]!.pods[0]!.addresses[end];
        peer = world.lab.nodes[1]!.addresses[end];
        world.datapath.nat.setTunnelEnds({ peers: [peer], own: [packets.node] });
      });
      after(() => world?.[Symbol.dispose]());

      const client = clients[end];
      const dsr = { forwarding: 'dsr' } as const;
      const udp = { ...dsr, protocol: 'UDP' } as const;
      const sctp = { ...dsr, protocol: 'SCTP' } as const;
      const request = (dport: number, to = packets.node, more: { ttl?: number } = {}) =>
        packets.from(client, to, more).tcp({ sport: ++sport, dport, syn: true, seq: 1000 });
      const datagram = (dport: number, to = packets.node) =>
        packets.from(client, to).udp({ sport: ++sport, dport }).payload('question');
      const ip = (packet: Packet, fields: { src?: string; dst?: string; ttl?: number }) => {
        const { ttl, ...addresses } = fields;
        return end === 'v4'
          ? packet.with('ipv4', fields)
          : packet.with('ipv6', { ...addresses, ...(ttl === undefined ? {} : { hopLimit: ttl }) });
      };
      /** A packet in a tunnel between these; the frame is one of `frame`'s. */
      const inTunnel = (packet: Packet, frame: Packet, src: string, dst: string) => {
        const { src: from, dst: to } = frame.layer('eth')!;
        const outer = eth({ src: from!, dst: to! });
        return packet.within(
          end === 'v4' ? outer.ipv4({ src, dst, df: true }) : outer.ipv6({ src, dst }),
        );
      };
      /** As it leaves for the other node. */
      const leaving = (packet: Packet) => {
        const frame = packets.framed(
          packets.to(client, client),
          world.node.link('eth0').address,
          world.lab.nodes[1]!.link('eth0').address,
        );
        return inTunnel(ip(packet, { ttl: 63 }), frame, packets.node, remote);
      };
      /** As it comes from the other node, or whom else. */
      const coming = (packet: Packet, from = peer, to = local) =>
        inTunnel(packet, packets.from(client, client), from, to);
      const sent = (outcome: ReturnType<NodePackets['ingress']>) => {
        assert.equal(outcome.verdict, 'send');
        return outcome.packet;
      };
      const flowOf = (port: number) =>
        [...world.datapath.nat.flows()].find(({ clientPort }) => clientPort === port);
      const forwardingOf = (port: number) => flowOf(port)?.forwarding;

      describe('at the node that they enter', () => {
        test('TCP: the whole conversation of the client, as it is but for a hop', () => {
          world.apply(packets.service(30_001, [remote], dsr));
          const syn = request(30_001);
          const states: (string | undefined)[] = [];
          const follow = (packet: Packet) => {
            assertPacket(sent(packets.ingress(packet)).bytes, leaving(packet));
            states.push(flowOf(sport)?.state);
          };
          const next = (fields: object) =>
            packets.from(client, packets.node).tcp({ sport, dport: 30_001, seq: 1001, ...fields });
          const before = world.flowKeys;
          follow(syn);
          assert.equal(world.flowKeys, before + 1, 'no key for replies');
          follow(syn);
          const { unanswered } = world.datapath.nat.status();
          follow(next({ ack: true, ackSeq: 1 }));
          follow(next({ ack: true, psh: true, ackSeq: 1 }).payload('question'));
          assert.equal(world.datapath.nat.status().unanswered, unanswered - 1);
          follow(next({ ack: true, fin: true, ackSeq: 9 }));
          follow(next({ ack: true, ackSeq: 10 }));
          const ended = 'half-closed by the client';
          assert.deepEqual(states, ['syn', 'syn', 'established', 'established', ended, ended]);
          assert.equal(flowOf(sport)!.forwarding, 'dsr');
          assert.equal(flowOf(sport)!.source, client);
          follow(next({ rst: true }));
          assert.equal(states.at(-1), 'reset');
        });

        test('a connection that begins anew after the end chooses anew', () => {
          world.apply(packets.service(30_002, [remote], dsr));
          const syn = request(30_002);
          sent(packets.ingress(syn));
          sent(packets.ingress(syn.with('tcp', { syn: false, ack: true, fin: true })));
          world.apply(packets.service(30_002, [local], dsr));
          sent(packets.ingress(syn));
          assert.equal(forwardingOf(sport), 'local');
        });

        test('UDP: the second packet shows that the first was answered', () => {
          world.apply(packets.service(30_003, [remote], udp));
          const question = datagram(30_003);
          for (let i = 0; i < 3; i++) {
            assertPacket(sent(packets.ingress(question)).bytes, leaving(question));
          }
          assert.equal(flowOf(sport)?.state, 'answered');
          // Several, as the mirror may run a packet twice.
          const states = [1, 2, 3, 4].map(() => {
            sent(packets.ingress(datagram(30_003)));
            return flowOf(sport)?.state;
          });
          assert.ok(states.includes('unanswered'), `${states}`);
        });

        test('SCTP, whose ports nobody has to change', () => {
          world.apply(packets.service(30_004, [remote], sctp));
          const value = new Uint8Array(16);
          const chunk = (type: 'init' | 'cookie-echo') =>
            packets
              .from(client, packets.node)
              .sctp({ sport: 4100, dport: 30_004, tag: 5, chunks: [{ type, value }] });
          const states = (['init', 'init', 'cookie-echo'] as const).map((type) => {
            assertPacket(sent(packets.ingress(chunk(type))).bytes, leaving(chunk(type)));
            return flowOf(4100)?.state;
          });
          assert.deepEqual(states, ['unanswered', 'unanswered', 'answered']);
        });

        test('a load balancer’s address; the class of service is the packet’s own', () => {
          const address = externals[end];
          const frontend = { kind: 'LoadBalancer', address } as const;
          world.apply(packets.service(80, [remote], { ...dsr, frontend }));
          const plain = request(80, address);
          // AF11, and congestion experienced, which is not the tunnel's.
          const marked =
            end === 'v4'
              ? plain.with('ipv4', { tos: 0x2b })
              : plain.with('ipv6', { trafficClass: 0x2b, flowLabel: 0x12345 });
          const expected = leaving(marked);
          assertPacket(
            sent(packets.ingress(marked)).bytes,
            end === 'v4'
              ? expected.with('ipv4', { tos: 0x28 })
              : expected.with('ipv6', { trafficClass: 0x28, flowLabel: 0x12345 }),
          );
        });

        test('a backend on this node, or a service that does not ask for it: no tunnel', () => {
          world.apply(
            packets.service(30_005, [local], dsr),
            packets.service(30_006, [remote], { forwarding: 'snat' }),
          );
          sent(packets.ingress(request(30_005)));
          assert.equal(forwardingOf(sport), 'local');
          sent(packets.ingress(request(30_006)));
          assert.equal(forwardingOf(sport), 'snat');
        });

        test('a client that is another node sees no tunnel, as replies must come back here', () => {
          world.apply(packets.service(30_007, [remote], dsr));
          const { src, dst } = packets.from(client, client).layer('eth')!;
          const from = eth({ src: src!, dst: dst! });
          for (const address of [peer, world.lab.nodes[1]!.pods[0]!.addresses[end]]) {
            const to = packets.node;
            const packet = (
              end === 'v4'
                ? from.ipv4({ src: address, dst: to })
                : from.ipv6({ src: address, dst: to })
            ).tcp({ sport: ++sport, dport: 30_007, syn: true });
            sent(packets.ingress(packet));
            assert.equal(forwardingOf(sport), 'snat', address);
          }
        });

        test('nobody knows this node by an address of its own: no tunnel', () => {
          world.apply(packets.service(30_008, [remote], dsr));
          world.datapath.nat.setTunnelEnds({ peers: [peer], own: [] });
          try {
            sent(packets.ingress(request(30_008)));
            assert.equal(forwardingOf(sport), 'snat');
          } finally {
            world.datapath.nat.setTunnelEnds({ peers: [peer], own: [packets.node] });
          }
        });

        test('too large for the tunnel: the client hears how much fits', () => {
          world.apply(packets.service(30_009, [remote], udp));
          const fits = 1500 - overhead[end];
          const headers = overhead[end] + 8;
          const sized = (length: number) =>
            packets
              .from(client, packets.node, { df: true })
              .udp({ sport: 4200, dport: 30_009 })
              .payload(length - headers);
          assertPacket(sent(packets.ingress(sized(fits))).bytes, leaving(sized(fits)));
          const large = sized(fits + 1);
          const counted = packets.drops(() => {
            assertPacket(
              sent(packets.ingress(large)).bytes,
              packets.icmp(
                packets.to(packets.node, client, { df: true }),
                tooBig,
                fits,
                packets.bare(large).first(headers),
              ),
            );
          });
          assert.deepEqual(counted, {
            'larger than the MTU of the next hop; the sender got an ICMP error': 1,
          });
        });

        test('too large for a link on the way: the client hears of its own packet, in the service’s name', () => {
          const address = externals[end];
          const frontend = { kind: 'LoadBalancer', address } as const;
          // A backend of its own, as it is to be known for its narrow tunnel.
          const far = world.lab.nodes[1]!.pods[1]!.addresses[end];
          world.apply(packets.service(89, [far], { ...dsr, frontend }));
          sent(packets.ingress(request(89, address)));
          const large = packets
            .from(client, address, { df: true })
            .tcp({ sport, dport: 89, ack: true, seq: 1001, ackSeq: 6 })
            .payload(1400);
          const away = sent(packets.ingress(large));
          const router = end === 'v4' ? '192.0.2.254' : 'fd00:192:0:2::254';
          const told = (about: Packet, mtu: number) =>
            packets.icmp(packets.from(router, packets.node), tooBig, mtu, about);
          const whole = packets.bare(away);
          const expected = (mtu: number, ttl = 63) =>
            packets.icmp(
              packets.to(address, client, { df: true }),
              tooBig,
              mtu,
              packets.bare(ip(large, { ttl })).first(overhead[end] + 20),
            );
          // With all of the packet that it may have, and with the least that is of use.
          for (const length of [500, 2 * overhead[end] + 20]) {
            assertPacket(
              sent(packets.ingress(told(whole.first(length), 1400))).bytes,
              expected(1400 - overhead[end]),
            );
          }
          // About nothing that is known here, or nothing of the kind: the node's own affair.
          const strange = packets.bare(ip(leaving(large), { dst: local }));
          const unreachable = packets.icmp(
            packets.from(router, packets.node),
            { v4: 'host-unreachable', v6: 'address-unreachable' },
            undefined,
            whole.first(500),
          );
          for (const error of [
            told(strange.first(500), 1400),
            told(whole.first(2 * overhead[end] - 4), 1400),
            unreachable,
          ]) {
            const { verdict, packet } = packets.ingress(error);
            assert.equal(verdict, 'pass');
            assertPacket(packet.bytes, error);
          }
          // Not believed: less than any link has, and no less than the packet that it is about.
          const { length } = whole.bytes;
          for (const mtu of [0, 68, { v4: 551, v6: 1279 }[end], length, 9000, 65_535]) {
            const error = told(whole.first(500), mtu);
            const { verdict, packet } = packets.ingress(error);
            assert.equal(verdict, 'pass', `${mtu}`);
            assertPacket(packet.bytes, error);
          }
          // Narrower than every host may be asked to be: the client's next flow has no tunnel.
          const least = { v4: 576 + 20, v6: 1280 + 40 }[end];
          sent(packets.ingress(told(whole.first(500), least)));
          assert.equal(forwardingOf(sport), 'dsr');
          packets.ingress(told(whole.first(500), least - 1));
          assert.equal(forwardingOf(sport), 'dsr', 'it goes on');
          sent(packets.ingress(request(89, address)));
          assert.equal(forwardingOf(sport), 'snat');
          // It says nothing about other clients.
          const other = end === 'v4' ? '203.0.113.78' : 'fd00:203:0:113::78';
          const fields = { sport: ++sport, dport: 89, syn: true } as const;
          sent(packets.ingress(packets.from(other, address).tcp(fields)));
          assert.equal(forwardingOf(sport), 'dsr');
        });

        test('fragments: a flow that begins with one has no tunnel, one in a tunnel keeps it', () => {
          world.apply(packets.service(30_010, [remote], udp));
          const [first] = datagram(30_010)
            .with('payload', { bytes: new Uint8Array(2000) })
            .fragments([1200]);
          sent(packets.ingress(first!));
          assert.equal(forwardingOf(sport), 'snat');

          const small = datagram(30_010);
          assertPacket(sent(packets.ingress(small)).bytes, leaving(small));
          const large = small.with('payload', { bytes: new Uint8Array(2000) });
          for (const part of large.fragments([1200], 77)) {
            assertPacket(sent(packets.ingress(part)).bytes, leaving(part));
          }
        });

        test('the end of its life: dropped, with the reason', () => {
          world.apply(packets.service(30_011, [remote], dsr));
          sent(packets.ingress(request(30_011)));
          const old = ip(request(30_011), { ttl: 1 });
          const counted = packets.drops(() => assert.equal(packets.ingress(old).verdict, 'drop'));
          assert.deepEqual(counted, { 'the TTL or hop limit is exceeded': 1 });
        });

        test('the backend goes: a reset for its connections, another backend for its UDP flows', () => {
          world.apply(
            packets.service(30_012, [remote], dsr),
            packets.service(30_012, [remote], udp),
          );
          const syn = request(30_012);
          sent(packets.ingress(syn));
          const question = datagram(30_012);
          sent(packets.ingress(question));
          world.apply(packets.service(30_012, [local], dsr), packets.service(30_012, [local], udp));
          const late = syn.with('tcp', { syn: false, ack: true, ackSeq: 5 });
          assert.equal(packets.ingress(late).verdict, 'pass', 'the stack resets it');
          sent(packets.ingress(question));
          assert.equal(forwardingOf(question.layer('udp')!.sport), 'local');
        });

        test('an ICMP error about a reply goes the way of the client’s packets', () => {
          world.apply(packets.service(30_013, [remote], dsr));
          sent(packets.ingress(request(30_013)));
          const reply = packets
            .to(packets.node, client)
            .tcp({ sport: 30_013, dport: sport, ack: true, seq: 5, ackSeq: 1001 })
            .payload(1400);
          const router = end === 'v4' ? '203.0.113.1' : 'fd00:203:0:113::1';
          const error = packets.icmp(
            packets.from(router, packets.node),
            tooBig,
            1400,
            packets.bare(reply).first(overhead[end] + 28),
          );
          assertPacket(sent(packets.ingress(error)).bytes, leaving(error));
        });
      });

      describe('at the node of the backend', () => {
        const pod = () => world.node.pods[0]!;
        /** What is delivered to the pod: translated, a hop on. */
        const delivered = (packet: Packet) =>
          packets.framed(
            ip(packet, { dst: local, ttl: 63 }),
            world.node.link(pod().nodeLink).address,
            pod().link('eth0').address,
          );

        test('a NodePort of the other node: the pod sees the client, the client the other node', () => {
          world.apply(
            packets.service(30_021, [local], dsr),
            packets.service(30_021, [local], {
              ...dsr,
              key: 'nodeport',
              frontend: { address: end === 'v4' ? '0.0.0.0' : '::' },
            }),
          );
          const syn = request(30_021, peer);
          assertPacket(
            sent(packets.ingress(coming(syn))).bytes,
            delivered(syn.with('tcp', { dport: 8080 })),
          );
          const answer = packets
            .from(local, client, { ttl: 63 })
            .tcp({ sport: 8080, dport: sport, syn: true, ack: true, seq: 5, ackSeq: 1001 });
          const { verdict, packet } = packets.egress(answer);
          assert.equal(verdict, 'pass', 'it is on its way already');
          assertPacket(packet.bytes, ip(answer, { src: peer }).with('tcp', { sport: 30_021 }));
          assert.equal(flowOf(sport)?.state, 'syn-ack');
          const next = syn.with('tcp', { syn: false, ack: true, seq: 1001, ackSeq: 6 });
          assertPacket(
            sent(packets.ingress(coming(next))).bytes,
            delivered(next.with('tcp', { dport: 8080 })),
          );
          assert.equal(flowOf(sport)?.state, 'established');
          assert.equal(forwardingOf(sport), 'local');
        });

        test('a load balancer’s address, UDP, also of the second of many backends', () => {
          const address = externals[end];
          const frontend = { kind: 'LoadBalancer', address } as const;
          world.apply(packets.service(81, [remote, local], { ...udp, frontend }));
          for (let i = 0; i < 5; i++) {
            const question = datagram(81, address);
            assertPacket(
              sent(packets.ingress(coming(question))).bytes,
              delivered(question.with('udp', { dport: 8080 })),
            );
          }
          const answer = packets
            .from(local, client)
            .udp({ sport: 8080, dport: sport })
            .payload('42');
          assertPacket(
            packets.egress(answer).packet.bytes,
            ip(answer, { src: address }).with('udp', { sport: 81 }),
          );
        });

        test('fragments, each in a tunnel of its own', () => {
          const address = externals[end];
          const frontend = { kind: 'LoadBalancer', address } as const;
          world.apply(packets.service(82, [local], { ...udp, frontend }));
          sent(packets.ingress(coming(datagram(82, address))));
          const large = packets.from(client, address).udp({ sport, dport: 82 }).payload(2000);
          const arrived = large.with('udp', { dport: 8080 });
          const expected = ip(arrived, { dst: local }).fragments([1200], 78);
          large.fragments([1200], 78).forEach((part, i) => {
            assertPacket(
              sent(packets.ingress(coming(part))).bytes,
              packets.framed(
                ip(expected[i]!, { ttl: 63 }),
                world.node.link(pod().nodeLink).address,
                pod().link('eth0').address,
              ),
            );
          });
        });

        test('an ICMP error about a reply is told to the pod in its own words', () => {
          const address = externals[end];
          const frontend = { kind: 'LoadBalancer', address } as const;
          world.apply(packets.service(83, [local], { ...dsr, frontend }));
          sent(packets.ingress(coming(request(83, address))));
          const about = (src: string, port: number) =>
            packets
              .bare(
                packets
                  .to(src, client)
                  .tcp({ sport: port, dport: sport, ack: true, seq: 5, ackSeq: 1001 })
                  .payload(1400),
              )
              .first(overhead[end] + 28);
          const router = end === 'v4' ? '203.0.113.1' : 'fd00:203:0:113::1';
          const error = (to: string, embedded: Packet, ttl: number) =>
            packets.icmp(packets.from(router, to, { ttl }), tooBig, 1400, embedded);
          assertPacket(
            sent(packets.ingress(coming(error(address, about(address, 83), 64)))).bytes,
            packets.framed(
              error(local, about(local, 8080), 63),
              world.node.link(pod().nodeLink).address,
              pod().link('eth0').address,
            ),
          );
        });

        test('whoever is no node is not believed, nor a tunnel to somebody else', () => {
          const address = externals[end];
          const frontend = { kind: 'LoadBalancer', address } as const;
          world.apply(packets.service(84, [local, remote], { ...dsr, frontend }));
          const syn = request(84, address);
          const stranger = end === 'v4' ? '203.0.113.9' : 'fd00:203:0:113::9';
          const other = end === 'v4' ? '10.244.1.99' : 'fd00:10:244:1::99';
          const about = packets.bare(packets.to(address, client).tcp({ sport: 84, dport: 1 }));
          const error = packets.icmp(packets.from(stranger, address), tooBig, 1400, about);
          const outer = coming(syn);
          const cases: Readonly<Record<string, Packet>> = {
            'not from a node': coming(syn, stranger),
            'a backend on another node': coming(syn, peer, remote),
            'not a backend': coming(syn, peer, other),
            'to this node': coming(syn, peer, packets.node),
            'no service': coming(request(85, address)),
            'no service’s address': coming(request(84, other)),
            'another protocol': coming(datagram(84, address)),
            'a pod’s own packet': coming(request(84, local)),
            'an error about nothing known': coming(error),
            'a tunnel in a tunnel': coming(packets.bare(syn).within(coming(syn))),
            ...(end === 'v4'
              ? { options: outer.with('ipv4', { options: Uint8Array.of(1, 1, 1, 1) }) }
              : {
                  options: coming(syn).within(
                    eth({ src: outer.layer('eth')!.src!, dst: outer.layer('eth')!.dst! })
                      .ipv6({ src: peer, dst: local })
                      .extension('destination-options'),
                  ),
                }),
          };
          for (const [name, packet] of Object.entries(cases)) {
            const { verdict, packet: left } = packets.ingress(packet);
            assert.equal(verdict, 'pass', name);
            assertPacket(left.bytes, packet);
          }
          assert.equal(flowOf(syn.layer('tcp')!.sport), undefined);
          assertPacket(
            sent(packets.ingress(outer)).bytes,
            delivered(syn.with('tcp', { dport: 8080 })),
          );
        });

        test('what belongs to no connection here is dropped: the other node tells the client', () => {
          const address = externals[end];
          const frontend = { kind: 'LoadBalancer', address } as const;
          world.apply(packets.service(86, [local], { ...dsr, frontend }));
          const late = request(86, address).with('tcp', { syn: false, ack: true });
          const counted = packets.drops(() =>
            assert.equal(packets.ingress(coming(late)).verdict, 'drop'),
          );
          assert.deepEqual(counted, { 'the packet belongs to no known connection': 1 });
        });

        test('the other node’s choice goes before this one’s own', () => {
          const address = externals[end];
          const frontend = { kind: 'LoadBalancer', address } as const;
          world.apply(packets.service(87, [remote], { ...udp, frontend }));
          const question = datagram(87, address);
          assertPacket(sent(packets.ingress(question)).bytes, leaving(question));
          world.apply(packets.service(87, [remote, local], { ...udp, frontend }));
          assertPacket(
            sent(packets.ingress(coming(question))).bytes,
            delivered(question.with('udp', { dport: 8080 })),
          );
          assert.equal(forwardingOf(sport), 'local');
        });

        test('who comes again from the same port finds a backend that has left and come back', () => {
          const address = externals[end];
          const frontend = { kind: 'LoadBalancer', address } as const;
          for (const [port, options, question] of [
            [88, dsr, request(88, address)],
            [89, udp, datagram(89, address)],
          ] as const) {
            for (const backends of [[local], [remote], [local]]) {
              world.apply(packets.service(port, backends, { ...options, frontend }));
              if (backends[0] === remote) continue;
              const { layers } = sent(packets.ingress(coming(question)));
              assert.partialDeepStrictEqual(layers[1], { dst: local });
            }
          }
        });
      });
    });
  }
}
