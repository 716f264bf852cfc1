// Real conversations of pods with a host outside, beside rules of netfilter that track connections or not.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { BlockingSocket, type LabHost, pattern, Tap } from '@heddle/lab';
import { MasqueradeStage } from '../../testing/masquerade.ts';
import { PodWorld } from '../../testing/pod-world.ts';

const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const hasNft = !spawnSync('nft', ['--version'], { env }).error;
const firewall = `table inet firewall {
  chain forward {
    type filter hook forward priority 0;
    ct state invalid counter drop
    ct state established counter
  }
}
`;
const ports = { tcp: 8080, udp: 8081, closed: 8082 };
/** Larger than a segment that the node's interface may send at once. */
const large = 300_000;

for (const [rules, tracked] of [
  ['without rules', false],
  ['beside rules that drop what netfilter takes for invalid', true],
] as const) {
  for (const end of ['v4', 'v6'] as const) {
    const skip = tracked && !hasNft && 'nft is not installed';
    describe(`pods and a host outside, ${rules}, ${end}`, { skip }, () => {
      let world: PodWorld;
      let stage: MasqueradeStage;
      let host: LabHost;
      const family = end === 'v4' ? 4 : 6;
      before(() => {
        world = new PodWorld(`outside-${end}`, 2, { lab: { outside: 1, pathMtu: 1400 } });
        stage = new MasqueradeStage(world, end);
        [host] = world.lab.outside as [LabHost];
        host.sendEachIcmpError();
        world.lab.underlay.sendEachIcmpError();
        if (!tracked) return;
        world.node.enter(() => execFileSync('nft', ['-f', '-'], { env, input: firewall }));
        world.datapath.nat.setTracked(true);
      });
      after(() => world?.[Symbol.dispose]());

      const open = (at: LabHost, protocol: 'tcp' | 'udp') =>
        at.enter(() => BlockingSocket.open(world.platform, { protocol, family }));
      const at = (port: number) => ({ address: host.addresses[end], port });
      const any = (port: number) => ({ address: end === 'v4' ? '0.0.0.0' : '::', port });
      const receiveAll = (socket: BlockingSocket, size: number) => {
        const parts: number[] = [];
        while (parts.length < size) {
          const part = socket.receive();
          if (part.length === 0) break;
          parts.push(...part);
        }
        return Uint8Array.from(parts);
      };

      test('TCP carries large data both ways, and the host sees the address of the node', () => {
        using listener = open(host, 'tcp');
        listener.bind(any(ports.tcp));
        listener.listen();
        using client = open(world.pod(0), 'tcp');
        client.connect(at(ports.tcp));
        using server = listener.accept();
        assert.equal(server.peerAddress.address, world.node.addresses[end]);
        const data = pattern(large);
        for (const [from, to] of [
          [client, server],
          [server, client],
        ] as const) {
          // A socket has room for less than all, so the other end reads in between.
          for (let sent = 0; sent < large; sent += 50_000) {
            const part = data.subarray(sent, sent + 50_000);
            from.send(part);
            assert.deepEqual(receiveAll(to, part.length), part);
          }
        }
        client.endSending();
        assert.equal(server.receive().length, 0);
      });

      test('UDP carries datagrams of all sizes both ways', () => {
        using server = open(host, 'udp');
        server.bind(any(ports.udp));
        using client = open(world.pod(1), 'udp');
        // The path is narrower than the link of the sender; the first large datagrams may be lost.
        for (const size of [1, 1300, 5000, 5000, 20_000]) {
          const data = pattern(size);
          for (let attempt = 0; ; attempt++) {
            try {
              client.send(data, at(ports.udp));
              const { bytes, from } = server.receiveFrom();
              assert.equal(from.address, world.node.addresses[end]);
              assert.deepEqual(bytes, data);
              server.send(data, from);
              assert.deepEqual(client.receive(), data);
              break;
            } catch (error) {
              if (attempt === 2 || (error as Error).name !== 'SysError') throw error;
            }
          }
        }
      });

      test('a datagram to a port that is closed is refused', () => {
        using client = open(world.pod(0), 'udp');
        client.connect(at(ports.closed));
        client.send('anybody');
        assert.throws(() => client.receive(), { name: 'SysError', code: 'ECONNREFUSED' });
      });

      test('a pod’s echo request is answered', () => {
        const pod = world.pod(0);
        using tap = Tap.open(pod, 'eth0');
        const { src, dst } = pod.firstHop;
        const each = {
          protocol: 'icmp',
          pod: 0,
          port: 4711,
          to: host.addresses[end],
          toPort: 0,
        } as const;
        tap.send(stage.request(each, { size: 1000 }).with('eth', { src, dst }));
        const isReply = ({ packet }: { packet: Parameters<typeof stage.seenPort>[0] }) => {
          const echo = packet.layer('icmp') ?? packet.layer('icmpv6');
          return echo?.id === 4711 && /reply|^0\/0$|^129\/0$/.test(echo.type);
        };
        const { packet } = tap.find('the echo reply', isReply);
        const ip = packet.layer('ipv4') ?? packet.layer('ipv6')!;
        assert.deepEqual([ip.src, ip.dst], [host.addresses[end], pod.addresses[end]]);
      });

      test('nothing that left had the address of a pod', () => {
        using tap = Tap.open(host, 'eth0');
        using client = open(world.pod(0), 'tcp');
        assert.throws(() => client.connect(at(ports.closed)), { code: 'ECONNREFUSED' });
        const sources = tap
          .drain()
          .map(({ packet }) => (packet.layer('ipv4') ?? packet.layer('ipv6'))?.src);
        assert.ok(sources.includes(world.node.addresses[end]));
        for (const pod of world.lab.pods) assert.ok(!sources.includes(pod.addresses[end]));
      });
    });
  }
}
