import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import {
  askHttp,
  askUdp,
  type Captured,
  connectTcp,
  eth,
  type LabHost,
  type LabNode,
  type LabPod,
  Packet,
  pattern,
  Tap,
} from '@heddle/lab';
import { eventually } from '@heddle/sys/testing/eventually';
import type { Cluster } from '../../testing/cluster.ts';
import {
  connectFrom,
  ends,
  exchange,
  type Mode,
  modes,
  openCluster,
  text,
} from '../../testing/north-south.ts';

/** The cluster that all scenarios share, its nodes, and clients outside. */
let cluster: Cluster;
let a: LabNode;
let b: LabNode;
let client: LabHost;
let other: LabHost;
const pod = (node: LabNode, n = 0): LabPod => node.pods[n]!;

for (const mode of modes) describe(mode.name, () => scenarios(mode));

function scenarios(mode: Mode): void {
  before(async () => {
    cluster = await openCluster('north-south-packets', mode);
    [a, b] = cluster.lab.nodes as [LabNode, LabNode];
    [client, other] = cluster.lab.outside as [LabHost, LabHost];
  });
  after(() => cluster?.[Symbol.dispose]());

  describe('packets of external traffic', () => {
    test('large datagrams arrive in fragments', () => {
      const service = cluster.serve({ pods: [pod(b)] });
      const large = 'x'.repeat(4000);
      for (const end of ends) {
        for (const entry of [a, b]) {
          const at = service.nodePort('udp', entry, end);
          assert.equal(askUdp(client, at, large), `${pod(b).name} ${large}`);
        }
      }
      cluster.remove(service);
    });

    test('echo requests to an address of a service are answered', () => {
      const balancers = { v4: '198.51.100.3', v6: 'fd00:198:51:100::3' };
      const service = cluster.serve({ pods: [pod(b)], ingress: Object.values(balancers) });
      using tap = Tap.open(client, 'eth0');
      for (const end of ends) {
        const ip = { src: client.addresses[end], dst: balancers[end] };
        cluster.lab.routeTo(a, balancers[end]);
        const echo = { type: 'echo-request', id: 7, sequence: 1 } as const;
        const frame = eth(client.firstHop);
        tap.send(
          end === 'v4'
            ? frame.ipv4(ip).icmp(echo).payload('ping')
            : frame.ipv6(ip).icmpv6(echo).payload('ping'),
        );
        const { packet } = tap.find('reply', (each) => `${each.packet}`.includes('echo-reply'));
        assert.match(`${packet}`, /echo-reply id 7 sequence 1\npayload 4 bytes "ping"$/);
        assert.doesNotMatch(`${packet}`, /WRONG/);
      }
      cluster.remove(service);
    });

    test('a frame with a priority tag (VLAN 0) is translated, one of a VLAN is not', () => {
      using wire = Tap.open(cluster.lab.underlay, `port${a.number}`);
      using tap = Tap.open(client, 'eth0');
      const { src: dst, dst: src } = a.firstHop;
      for (const home of [a, b]) {
        const service = cluster.serve({ pods: [pod(home)] });
        for (const end of ends) {
          const { address, port } = service.nodePort('udp', a, end);
          const ip = { src: client.addresses[end], dst: address };
          const frame = eth({ src: src!, dst: dst! });
          const ask = (tag: number, text: string) => {
            const question = (end === 'v4' ? frame.ipv4(ip) : frame.ipv6(ip))
              .udp({ sport: 4100 + (tag & 0xfff), dport: port })
              .payload(text).bytes;
            const tagged = new Uint8Array(question.length + 4);
            tagged.set(question.subarray(0, 12));
            tagged.set([0x81, 0, tag >> 8, tag & 0xff], 12);
            tagged.set(question.subarray(12), 16);
            wire.send(tagged);
          };
          ask(100, 'of a VLAN');
          ask(5 << 13, 'with a priority');
          const replies: string[] = [];
          const isReply = ({ packet }: Captured) => {
            if (packet.layer('udp')?.sport === port) replies.push(`${packet}`);
            return packet.layer('udp')?.sport === port;
          };
          tap.find('reply', isReply);
          assert.equal(replies.length, 1);
          assert.ok(replies[0]!.includes('with a priority'), replies[0]);
        }
        cluster.remove(service);
      }
    });

    test('fragments after the first one arrive in any order', () => {
      const service = cluster.serve({ pods: [pod(b)] });
      using tap = Tap.open(client, 'eth0');
      for (const end of ends) {
        for (const entry of [a, b]) {
          const { address, port } = service.nodePort('udp', entry, end);
          const ip = { src: client.addresses[end], dst: address };
          const frame = eth(client.firstHop);
          const whole = (end === 'v4' ? frame.ipv4(ip) : frame.ipv6(ip))
            .udp({ sport: 4000, dport: port })
            .payload('y'.repeat(3000));
          for (const [id, order] of [
            [1, [0, 1, 2]],
            [2, [0, 2, 1]],
          ] as const) {
            const parts = whole.fragments([1200, 1200], id);
            for (const part of order) tap.send(parts[part]!);
            const isReply = ({ packet }: Captured) => packet.layer('udp')?.sport === port;
            const reply = tap.find(`reply to order ${order}`, isReply).packet;
            assert.ok(`${reply}`.includes('"pod-2-1 yyy'), `${reply}`);
          }
        }
      }
      cluster.remove(service);
    });

    test('a fragment that arrives long before the first one is dropped and counted', async () => {
      const service = cluster.serve({ pods: [pod(b)] });
      const lost = () =>
        cluster
          .datapath(a)
          .drops.counts()
          .find(({ reason }) => reason.includes('fragment'))!.count;
      using tap = Tap.open(client, 'eth0');
      for (const end of ends) {
        const { address, port } = service.nodePort('udp', a, end);
        const ip = { src: client.addresses[end], dst: address };
        const frame = eth(client.firstHop);
        const [first, second, third] = (end === 'v4' ? frame.ipv4(ip) : frame.ipv6(ip))
          .udp({ sport: 4002, dport: port })
          .payload('y'.repeat(3000))
          .fragments([1200, 1200], 9);
        const before = lost();
        for (const part of [second!, third!]) tap.send(part);
        await setTimeout(50);
        tap.send(first!);
        await eventually('both are counted', () => lost() === before + 2);
      }
      cluster.remove(service);
    });

    test("packets to a port that a service does not have are dropped, or the node's where it has the port", () => {
      const balancer = '198.51.100.4';
      const service = cluster.serve({ pods: [pod(b)], ingress: [balancer] });
      cluster.lab.routeTo(a, balancer);
      // At the other end of the node's device, which also sees what XDP takes, and what it sends.
      using tap = Tap.open(cluster.lab.underlay, `port${a.number}`);
      assert.throws(() => connectTcp(client, { address: balancer, port: 9999 }, 200), {
        code: 'ETIMEDOUT',
      });
      const seen = tap.drain().filter(({ packet }) => `${packet}`.includes(balancer));
      assert.ok(seen.length > 0);
      assert.ok(
        seen.every(({ direction }) => direction === 'out'),
        'it goes round in circles',
      );
      assert.throws(() => connectTcp(client, { address: a.addresses.v4, port: 9999 }), {
        code: 'ECONNREFUSED',
      });
      cluster.remove(service);
    });

    test('a segment outside of the window does not end the connection', () => {
      for (const home of [a, b]) {
        const service = cluster.serve({ pods: [pod(home)] });
        using tap = Tap.open(pod(home), 'eth0');
        using socket = connectTcp(client, service.nodePort('echo', a, 'v4'));
        exchange(socket, 'before');
        const sent = tap
          .drain()
          .find(({ direction, packet }) => direction === 'out' && `${packet}`.includes('SYN+ACK'))!;
        // A pod whose connection tracking has lost its state sends numbers far beyond the window.
        const { checksum: _, ...answer } = sent.packet.layer('tcp')!;
        const far = (answer.seq! + 0x40000000) >>> 0;
        const stray = new Packet({
          layers: [...sent.packet.layers.slice(0, 2), { ...answer, syn: false, seq: far }],
        });
        tap.send(stray);
        exchange(socket, 'after');
        cluster.remove(service);
      }
    });

    test('SCTP headers and checksums are translated', () => {
      for (const home of [a, b]) {
        const service = cluster.serve({ pods: [pod(home)] });
        for (const end of ends) {
          using atPod = Tap.open(pod(home), 'eth0');
          using atClient = Tap.open(client, 'eth0');
          const { address, port } = service.nodePort('sctp', a, end);
          const frame = eth(client.firstHop);
          const ip = { src: client.addresses[end], dst: address };
          const init = { type: 'init', value: pattern(16) } as const;
          const sctp = { sport: 4000, dport: port, tag: 0, chunks: [init] };
          atClient.send(end === 'v4' ? frame.ipv4(ip).sctp(sctp) : frame.ipv6(ip).sctp(sctp));
          const isSctp = ({ packet }: Captured) => packet.layer('sctp') !== undefined;
          const { packet } = atPod.find('INIT', isSctp);
          assert.match(`${packet}`, / > 8084 tag 0x0\n {2}chunk init 16 bytes /);
          // This is the pod's answer.
          const back = packet.layer(end === 'v4' ? 'ipv4' : 'ipv6')!;
          const seen = packet.layer('sctp')!;
          const ends = { src: back.dst, dst: back.src };
          const ack = {
            ...{ sport: seen.dport, dport: seen.sport, tag: 99 },
            chunks: [{ type: 'init-ack', value: pattern(16) }] as const,
          };
          const reply = eth(pod(home).firstHop);
          atPod.send(end === 'v4' ? reply.ipv4(ends).sctp(ack) : reply.ipv6(ends).sctp(ack));
          const answer = atClient.find('INIT ACK', isSctp).packet;
          assert.ok(`${answer}`.includes(`${address} > ${client.addresses[end]} `), `${answer}`);
          assert.ok(`${answer}`.includes(`sctp ${port} > 4000 tag 0x63\n`), `${answer}`);
        }
        cluster.remove(service);
      }
    });

    test('a datagram without a checksum arrives without one', () => {
      for (const home of [a, b]) {
        const service = cluster.serve({ pods: [pod(home)] });
        using tap = Tap.open(client, 'eth0');
        using atPod = Tap.open(pod(home), 'eth0');
        const { address, port } = service.nodePort('udp', a, 'v4');
        const frame = eth(client.firstHop).ipv4({ src: client.addresses.v4, dst: address });
        tap.send(frame.udp({ sport: 4000, dport: port, checksum: 'none' }).payload('plain'));
        atPod.find('datagram', ({ packet }) =>
          / > 8083 checksum none\n.*"plain"/.test(`${packet}`),
        );
        const reply = tap.find('reply', ({ packet }) => packet.layer('udp') !== undefined);
        assert.match(`${reply.packet}`, new RegExp(`udp ${port} > 4000.*\n.*"pod-\\d-1 plain"$`));
        cluster.remove(service);
      }
    });

    test('a segment of no known connection is answered with a reset', () => {
      const service = cluster.serve({ pods: [pod(b)] });
      using tap = Tap.open(client, 'eth0');
      for (const end of ends) {
        const { address, port } = service.nodePort('echo', a, end);
        const ip = { src: client.addresses[end], dst: address };
        const tcp = { sport: 4000, dport: port, ack: true, seq: 1000, ackSeq: 77 };
        const frame = eth(client.firstHop);
        tap.send((end === 'v4' ? frame.ipv4(ip) : frame.ipv6(ip)).tcp(tcp).payload('lost'));
        const { packet } = tap.find('reset', (each) => each.packet.layer('tcp')?.rst === true);
        assert.match(`${packet}`, new RegExp(`tcp ${port} > 4000 RST seq 77 window`));
        assert.doesNotMatch(`${packet}`, /WRONG/);
      }
      cluster.remove(service);
    });

    test('two services with one pod keep connections from one client port apart', () => {
      for (const home of [a, b]) {
        const services = [
          cluster.serve({ pods: [pod(home)] }),
          cluster.serve({ pods: [pod(home)] }),
        ];
        for (const end of ends) {
          const sockets = services.map((service) =>
            connectFrom(client, 21_000, service.nodePort('echo', a, end)),
          );
          for (const [i, socket] of sockets.entries()) exchange(socket, `by way ${i}`);
          for (const socket of sockets) socket[Symbol.dispose]();
        }
        for (const service of services) cluster.remove(service);
      }
    });

    test('hundreds of connections from several clients to one pod are kept apart', () => {
      const service = cluster.serve({ pods: [pod(b)] });
      for (const end of ends) {
        const at = service.nodePort('echo', a, end);
        const sockets = Array.from({ length: 200 }, (_, i) =>
          connectTcp(i % 2 ? client : other, at),
        );
        for (const [i, socket] of sockets.entries()) socket.send(`number ${i}`);
        for (const [i, socket] of sockets.entries()) {
          assert.equal(text(socket.receive()), `number ${i}`);
          socket[Symbol.dispose]();
        }
      }
      cluster.remove(service);
    });

    test('traffic continues when the agent is killed and a new one starts', () => {
      const service = cluster.serve({ pods: [pod(a), pod(b)] });
      for (const end of ends) {
        const sockets = Array.from({ length: 20 }, () =>
          connectTcp(client, service.nodePort('echo', a, end)),
        );
        for (const socket of sockets) exchange(socket, 'before');
        cluster.restart(a);
        for (const socket of sockets) {
          exchange(socket, 'after');
          socket[Symbol.dispose]();
        }
        assert.match(askHttp(client, service.nodePort('http', a, end)), /^pod-[12]-1$/);
      }
      cluster.remove(service);
    });

    test('one client port is used for one connection after the other', () => {
      const service = cluster.serve({ pods: [pod(a), pod(b)] });
      for (const end of ends) {
        for (let i = 0; i < 50; i++) {
          using socket = connectFrom(client, 22_000, service.nodePort('echo', a, end));
          exchange(socket, `round ${i}`);
          // A reset instead of a FIN leaves the port free at once at both ends.
          socket.setOption(1, 13, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0));
        }
      }
      cluster.remove(service);
    });
  });
}
