// Ports of the node that services have and that its stack uses, too: for what it masquerades, and where a client
// addresses a pod directly after it was there through a service.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { BlockingSocket, type LabHost, type LabNode, type LabPod } from '@heddle/lab';
import type { SocketAddress } from '@heddle/sys/net';
import type { Cluster, End } from '../../testing/cluster.ts';
import { ends, exchange, modes, openCluster, text } from '../../testing/north-south.ts';
import { replyBit } from '../services/reply-sources.ts';

const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const skip = spawnSync('nft', ['--version'], { env }).error && 'nft is not installed';

const masquerade = `table inet plugin {
  chain postrouting {
    type nat hook postrouting priority 100;
    ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 masquerade
    ip6 saddr fd00:10:244::/48 ip6 daddr != fd00:10:244::/48 masquerade
  }
}
`;

const families = { v4: 4, v6: 6 } as const;
const anywhere = { v4: '0.0.0.0', v6: '::' } as const;

test('replyBit returns the bit that the programs test', () => {
  const address = Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1]);
  const bits = new Set(Array.from({ length: 100 }, (_, i) => replyBit(address, 30_000 + i)));
  assert.ok(bits.size > 95, `${bits.size} of 100`);
  for (const bit of bits) assert.ok(bit >= 0 && bit < 65_536);
});

for (const name of ['snat/tc', 'snat/xdp native', 'dsr/tc']) {
  const mode = modes.find((each) => each.name === name)!;
  describe(`ports shared by services and the node's stack, ${name}`, () => {
    let cluster: Cluster;
    let a: LabNode;
    let client: LabHost;
    before(async () => {
      cluster = await openCluster('stack-ports', mode);
      a = cluster.lab.nodes[0]!;
      client = cluster.lab.outside[0]!;
    });
    after(() => cluster?.[Symbol.dispose]());

    const open = (place: LabHost, protocol: 'tcp' | 'udp', end: End) =>
      place.enter(() =>
        BlockingSocket.open(place.platform, { protocol, family: families[end], timeoutMs: 2000 }),
      );
    const bound = (place: LabHost, protocol: 'tcp' | 'udp', end: End, port: number) => {
      const socket = open(place, protocol, end);
      socket.bind({ address: anywhere[end], port });
      return socket;
    };
    const connected = (
      place: LabHost,
      protocol: 'tcp' | 'udp',
      end: End,
      port: number,
      to: SocketAddress,
    ) => {
      const socket = bound(place, protocol, end, port);
      socket.connect(to);
      return socket;
    };

    for (const end of ends) {
      test(`connections that are masqueraded to the port of a NodePort work, ${end}`, {
        skip,
      }, () => {
        const [pod, other] = a.pods as [LabPod, LabPod];
        const service = cluster.serve({ pods: [other, cluster.lab.nodes[1]!.pods[0]!] });
        a.enter(() => execFileSync('nft', ['-f', '-'], { env, input: masquerade }));
        cluster.datapath(a).nat.setTracked(true);
        try {
          const to = { address: client.addresses[end], port: 9000 };
          using listener = bound(client, 'tcp', end, 9000);
          listener.listen();
          const tcpPort = service.nodePortNumber('echo');
          using asking = connected(pod, 'tcp', end, tcpPort, to);
          using accepted = listener.accept();
          asking.send('question');
          assert.equal(text(accepted.receive()), 'question');
          accepted.send('answer');
          assert.equal(text(asking.receive()), 'answer');

          const udpPort = service.nodePortNumber('udp');
          using server = bound(client, 'udp', end, 9000);
          // The node keeps the port where it is free.
          server.connect({ address: a.addresses[end], port: udpPort });
          using question = connected(pod, 'udp', end, udpPort, to);
          for (let i = 0; i < 3; i++) {
            question.send(`question ${i}`);
            assert.equal(text(server.receive()), `question ${i}`);
            server.send(`answer ${i}`);
            assert.equal(text(question.receive()), `answer ${i}`);
          }
          const flows = [...cluster.datapath(a).nat.flows()];
          assert.ok(!flows.some(({ clientPort }) => clientPort === 9000));

          // Other ports of the same host are clients of the service.
          using elsewhere = connected(client, 'udp', end, 9001, service.nodePort('udp', a, end));
          elsewhere.send('hello');
          assert.match(text(elsewhere.receive()), /^pod-\d-\d hello$/);
        } finally {
          a.enter(() => execFileSync('nft', ['flush', 'ruleset'], { env }));
          cluster.datapath(a).nat.setTracked(false);
          cluster.remove(service);
        }
      });

      test(`a client reaches a pod directly from a port that it used through a NodePort, ${end}`, () => {
        const [pod] = a.pods as [LabPod];
        const service = cluster.serve({ pods: [pod] });
        for (const port of [42_000, 42_001]) {
          for (const to of [
            service.nodePort('udp', a, end),
            { address: pod.addresses[end], port: 8083 },
            service.nodePort('udp', a, end),
            { address: pod.addresses[end], port: 8083 },
          ]) {
            using socket = connected(client, 'udp', end, port, to);
            socket.send('hello');
            assert.equal(text(socket.receive()), `${pod.name} hello`, `${to.address}`);
          }
          for (const to of [
            service.nodePort('echo', a, end),
            { address: pod.addresses[end], port: 8081 },
            service.nodePort('echo', a, end),
          ]) {
            using socket = connected(client, 'tcp', end, port, to);
            exchange(socket, `to ${to.address}`);
            socket.endSending();
            assert.equal(socket.receive().length, 0);
          }
        }
        cluster.remove(service);
      });
    }
  });
}
