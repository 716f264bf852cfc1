import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import {
  askHttp,
  askUdp,
  type Captured,
  connectTcp,
  connectUdp,
  echoBytes,
  floodWithSyns,
  type LabHost,
  type LabNode,
  type LabPod,
  startHttpClient,
  Tap,
} from '@heddle/lab';
import { Cluster, type End } from '../../testing/cluster.ts';
import {
  clientSeenAt,
  converse,
  ends,
  exchange,
  openCluster,
  startOf,
  text,
} from '../../testing/north-south.ts';
import { sizes } from '../../testing/world.ts';
import { defaultNat } from './flow-options.ts';

// The tests of DSR, where a backend's node answers the client itself. The common behaviour is in the other
// scenarios, which run with dsr too.

const environment = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const noNft = spawnSync('nft', ['--version'], { env: environment }).error && 'nft is not installed';

const dsr = { name: 'dsr', forwarding: 'dsr', wire: true } as const;
const balancers = { v4: '198.51.100.21', v6: 'fd00:198:51:100::21' } as const;

/** TCP packets at a device by the way that they go, seen from it. */
const tcpOf = (captured: readonly Captured[], direction: Captured['direction']) =>
  captured.filter((each) => each.direction === direction && each.packet.layer('tcp'));

describe('direct server return', () => {
  let cluster: Cluster;
  let a: LabNode;
  let b: LabNode;
  let client: LabHost;
  const pod = (node: LabNode, n = 0): LabPod => node.pods[n]!;
  before(async () => {
    cluster = await openCluster('dsr', dsr);
    [a, b] = cluster.lab.nodes as [LabNode, LabNode];
    [client] = cluster.lab.outside as [LabHost];
  });
  after(() => cluster?.[Symbol.dispose]());

  for (const end of ends) {
    test(`replies go directly to the client, TCP and UDP, over IP${end}`, () => {
      const service = cluster.serve({ pods: [pod(b)], ingress: Object.values(balancers) });
      cluster.lab.routeTo(a, balancers[end]);
      for (const at of [
        (port: 'echo' | 'udp' | 'http') => service.nodePort(port, a, end),
        (port: 'echo' | 'udp' | 'http') => service.at(port, balancers[end]),
      ]) {
        using front = Tap.open(a, 'eth0');
        using back = Tap.open(b, 'eth0');
        for (const size of [1, 2_000_000]) echoBytes(client, at('echo'), size);
        assert.equal(askUdp(client, at('udp'), 'hello'), `${pod(b).name} hello`);
        const [entered, left] = [front.drain(), back.drain()];
        const own = client.addresses[end];
        const answers = (captured: readonly Captured[]) =>
          captured.filter(
            ({ packet }) =>
              (packet.layer('tcp') ?? packet.layer('udp')) &&
              (packet.layer('ipv4') ?? packet.layer('ipv6'))?.dst === own,
          );
        assert.deepEqual(answers(entered), []);
        assert.ok(answers(left).length > 2);
        // All that leaves the front node for the backend's is in a tunnel, with the client in it.
        const outer = tcpOf(entered, 'out');
        assert.ok(outer.length > 0);
        for (const { packet } of outer) {
          const [tunnel, inner] = packet.layers.filter(({ kind }) => kind === `ip${end}`);
          const [from, to] = [a.addresses[end], pod(b).addresses[end]];
          assert.partialDeepStrictEqual(tunnel, { src: from, dst: to });
          assert.partialDeepStrictEqual(inner, { src: own, dst: at('echo').address });
        }
        assert.ok(clientSeenAt(client, at('http')).startsWith(startOf(own)));
      }
      cluster.remove(service);
    });

    test(`a client's connections survive new agents on both nodes, over IP${end}`, () => {
      const service = cluster.serve({ pods: [pod(b)] });
      using tcp = connectTcp(client, service.nodePort('echo', a, end));
      using udp = connectUdp(client, service.nodePort('udp', a, end));
      const both = (word: string) => {
        exchange(tcp, word);
        udp.send(word);
        assert.equal(text(udp.receive()), `${pod(b).name} ${word}`);
      };
      both('before');
      for (const node of [a, b]) {
        cluster.restart(node);
        both(`after a restart of ${node.name}`);
      }
      // And through agents that would not tunnel: what is tunnelled goes on.
      for (const node of [a, b]) cluster.restart(node, undefined, 'snat');
      assert.ok(
        clientSeenAt(client, service.nodePort('http', a, end)).startsWith(
          startOf(a.addresses[end]),
        ),
      );
      for (const node of [a, b]) cluster.restart(node, undefined, 'dsr');
      both('at last');
      cluster.remove(service);
    });

    test(`when a backend is removed, TCP connections are reset and UDP flows get another one, over IP${end}`, () => {
      const service = cluster.serve({ pods: [pod(b)] });
      using tcp = connectTcp(client, service.nodePort('echo', a, end));
      using udp = connectUdp(client, service.nodePort('udp', a, end));
      exchange(tcp, 'here');
      udp.send('here');
      assert.equal(text(udp.receive()), `${pod(b).name} here`);
      cluster.change(service, { pods: [pod(b, 1)] });
      tcp.send('there');
      assert.throws(() => tcp.receive(), { code: 'ECONNRESET' });
      udp.send('there');
      assert.equal(text(udp.receive()), `${pod(b, 1).name} there`);
      cluster.remove(service);
    });
  }

  test("replies pass connection tracking on the backend's node", { skip: noNft }, () => {
    const service = cluster.serve({ pods: [pod(b)] });
    const nft = (rules: string) =>
      b.enter(() => execFileSync('nft', ['-f', '-'], { env: environment, input: rules }));
    nft(`table inet rules {
      chain forward { type filter hook forward priority 0; ct state invalid drop; }
      chain post { type nat hook postrouting priority 100; oifname "eth0" masquerade; }
    }`);
    cluster.datapath(b).nat.setTracked(true);
    try {
      for (const end of ends) {
        converse(client, (port) => service.nodePort(port, a, end), pod(b).name);
        const seen = clientSeenAt(client, service.nodePort('http', a, end));
        assert.ok(seen.startsWith(startOf(client.addresses[end])));
      }
    } finally {
      cluster.datapath(b).nat.setTracked(false);
      nft('flush ruleset');
      cluster.remove(service);
    }
  });

  test('hybrid mode and the annotation of a service choose the flows that are tunnelled', () => {
    const seenBy = (end: End, annotation: string) => {
      const annotations = { 'heddle.io/forwarding': annotation };
      const service = cluster.serve({ pods: [pod(b)], annotations });
      assert.equal(askHttp(client, service.nodePort('http', a, end)), pod(b).name);
      assert.equal(askUdp(client, service.nodePort('udp', a, end), 'x'), `${pod(b).name} x`);
      const kinds = ['TCP', 'UDP'].map(
        (protocol) =>
          [...cluster.datapath(a).nat.flows()].find(
            (flow) =>
              flow.protocol === protocol &&
              [service.nodePortNumber('http'), service.nodePortNumber('udp')].includes(
                flow.frontendPort,
              ) &&
              flow.frontend === a.addresses[end],
          )?.forwarding,
      );
      cluster.remove(service);
      return kinds;
    };
    for (const end of ends) {
      assert.deepEqual(seenBy(end, 'dsr'), ['dsr', 'dsr']);
      assert.deepEqual(seenBy(end, 'hybrid'), ['dsr', 'snat']);
      assert.deepEqual(seenBy(end, 'snat'), ['snat', 'snat']);
    }
  });

  test('a service with an endpoint on no node uses no tunnels', () => {
    const service = cluster.serve({ pods: [pod(b)] });
    const stray = { pod: pod(b, 1), nodeName: 'elsewhere' };
    cluster.change(service, { pods: [pod(b), stray] });
    for (const end of ends) {
      const seen = clientSeenAt(client, service.nodePort('http', a, end));
      assert.ok(seen.startsWith(startOf(a.addresses[end])));
    }
    cluster.remove(service);
  });
});

test('a SYN flood ends no tunnelled connection at either node', async () => {
  const small = { sizes: { ...sizes, flows: 4000 } };
  using cluster = new Cluster(
    { name: 'dsr-flood', nodes: 2, podsPerNode: 1, outside: 2 },
    small,
    'dsr',
  );
  await cluster.start();
  const [a, b] = cluster.lab.nodes;
  const [client, attacker] = cluster.lab.outside;
  const service = cluster.serve({ pods: [b!.pods[0]!] });
  const to = service.nodePort('echo', a!, 'v4');
  const sockets = Array.from({ length: 300 }, () => connectTcp(client!, to));
  try {
    const all = (word: string) => {
      for (const socket of sockets) socket.send(word);
      for (const socket of sockets) assert.equal(text(socket.receive()), word);
    };
    all('before');
    let over = false;
    const flood = floodWithSyns(attacker!, { to, count: 50_000 }).finally(() => {
      over = true;
    });
    while (!over) {
      all('during');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await flood;
    all('after');
    const { flows, unanswered, unansweredLimit, maxFlows, evicted } = cluster
      .datapath(a!)
      .nat.status();
    assert.ok(flows <= maxFlows);
    assert.ok(unanswered <= unansweredLimit + 1, `${unanswered} of ${maxFlows} are unanswered`);
    const count = evicted.reduce((sum, each) => sum + each.count, 0);
    assert.ok(count > 20_000, `${count} gave way`);
  } finally {
    for (const socket of sockets) socket[Symbol.dispose]();
  }
});

test('no connection fails during a rolling update with tunnels', async () => {
  using cluster = new Cluster(
    { name: 'dsr-rolling', nodes: 3, podsPerNode: 2, outside: 1 },
    // Nodes receive changes one after the other, as those of a real cluster do.
    { sizes: { ...sizes, flows: 30_000 }, nat: { ...defaultNat, tunnelAfter: 2 } },
    'dsr',
  );
  await cluster.start();
  const [a, b, c] = cluster.lab.nodes;
  const [client] = cluster.lab.outside;
  const pods = [...b!.pods, ...c!.pods];
  const ending = { ready: false, serving: true, terminating: true };
  const service = cluster.serve({ pods: [pods[0]!, pods[1]!] });
  const run = startHttpClient(client!, {
    rate: 500,
    targets: Object.fromEntries(
      ends.map((end) => {
        const { address, port } = service.nodePort('http', a!, end);
        return [end, [end === 'v4' ? `${address}:${port}` : `[${address}]:${port}`]];
      }),
    ),
  });
  await run.started;
  const pause = (milliseconds: number) =>
    new Promise((resolve) => setTimeout(resolve, milliseconds));
  try {
    for (let step = 0; step < 8; step++) {
      const [first, second, third] = [0, 1, 2].map((i) => pods[(step + i) % pods.length]!);
      cluster.change(service, { pods: [{ pod: first!, conditions: ending }, second!, third!] });
      await pause(100);
      if (step % 4 === 1) cluster.restart([a!, b!, c!][step % 3]!);
      cluster.change(service, { pods: [second!, third!] });
      await pause(1200);
    }
  } finally {
    await run.stop();
  }
  const { targets } = await run.total;
  for (const end of ends) {
    assert.deepEqual(targets[end]!.failures, {}, end);
    assert.equal(Object.keys(targets[end]!.answers).length, 4, 'pods take turns');
  }
  const ways = new Set(
    Array.from(cluster.datapath(a!).nat.flows(), ({ forwarding }) => forwarding),
  );
  assert.deepEqual([...ways].sort(), ['dsr', 'snat'], 'SNAT to pods that have just come');
});
