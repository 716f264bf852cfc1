import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  askHttp,
  askUdp,
  assertPacket,
  connectTcp,
  eth,
  floodWithSyns,
  ipv4,
  ipv6,
  type LabOptions,
  startHttpClient,
  Tap,
} from '@heddle/lab';
import { Cluster } from '../testing/cluster.ts';
import { sizes } from '../testing/world.ts';

const ends = ['v4', 'v6'] as const;

async function clusterOf(options: LabOptions, flows?: number): Promise<Cluster> {
  const own = flows === undefined ? {} : { sizes: { ...sizes, flows } };
  const cluster = new Cluster({ nodes: 2, podsPerNode: 2, outside: 2, ...options }, own);
  try {
    await cluster.start();
    return cluster;
  } catch (error) {
    cluster[Symbol.dispose]();
    throw error;
  }
}

describe('many at once', () => {
  test('a flood of SYNs leaves established connections alone, and is over when it is over', async () => {
    using cluster = await clusterOf({ name: 'flood' }, 8000);
    const [a, b] = cluster.lab.nodes;
    const [client, attacker] = cluster.lab.outside;
    const service = cluster.serve({ pods: [a!.pods[0]!, b!.pods[0]!] });
    const to = service.nodePort('echo', a!, 'v4');
    const sockets = Array.from({ length: 1000 }, () => connectTcp(client!, to));
    try {
      const exchange = (word: string) => {
        for (const socket of sockets) socket.send(word);
        for (const socket of sockets) {
          assert.equal(new TextDecoder().decode(socket.receive()), word);
        }
      };
      exchange('before');
      const before = cluster.datapath(a!).natStatus();
      const flood = floodWithSyns(attacker!, { to, count: 200_000 });
      let over = false;
      const ended = flood.finally(() => {
        over = true;
      });
      for (let round = 0; !over; round++) {
        exchange(`during ${round}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      await ended;
      exchange('after');
      const { flows, unanswered, maxFlows } = cluster.datapath(a!).natStatus();
      assert.ok(flows <= maxFlows && flows >= before.flows);
      assert.ok(unanswered <= maxFlows * 0.25 + 1, `${unanswered} of ${maxFlows} are unanswered`);
      const drops = cluster.datapath(a!).drops();
      const refused = drops.find(({ reason }) => reason.includes('flood of SYNs'))!.count;
      assert.ok(refused > 100_000, `${refused} were refused as a flood`);
    } finally {
      for (const socket of sockets) socket[Symbol.dispose]();
    }
  });

  test('a rolling update under load: no connection fails, although the agent restarts too', async () => {
    using cluster = await clusterOf({ name: 'rolling' }, 50_000);
    const [a, b] = cluster.lab.nodes;
    const [client] = cluster.lab.outside;
    const pods = [...a!.pods, ...b!.pods];
    const ending = { ready: false, serving: true, terminating: true };
    const service = cluster.serve({ pods: [pods[0]!, pods[1]!] });
    const run = startHttpClient(client!, {
      // A closed connection keeps its entry for a minute: all of them find room.
      rate: 1000,
      targets: Object.fromEntries(
        ends.map((end) => {
          const { address, port } = service.nodePort('http', a!, end);
          return [end, [end === 'v4' ? `${address}:${port}` : `[${address}]:${port}`]];
        }),
      ),
    });
    const pause = () => new Promise((resolve) => setTimeout(resolve, 100));
    try {
      for (let step = 0; step < 16; step++) {
        const [first, second, third] = [0, 1, 2].map((i) => pods[(step + i) % pods.length]!);
        cluster.change(service, {
          pods: [{ pod: first!, conditions: ending }, second!, third!],
        });
        await pause();
        if (step % 4 === 1) cluster.restart(a!);
        cluster.change(service, { pods: [second!, third!] });
        await pause();
      }
    } finally {
      await run.stop();
    }
    const { targets } = await run.total;
    for (const end of ends) {
      assert.deepEqual(targets[end]!.failures, {}, end);
      assert.equal(Object.keys(targets[end]!.answers).length, pods.length, 'each pod had its turn');
    }
  });
});

test('a pod that does not listen says so to the client, in the service’s name', async () => {
  using cluster = await clusterOf({ name: 'closed' });
  const [a, b] = cluster.lab.nodes;
  const [client] = cluster.lab.outside;
  for (const home of [a!, b!]) {
    const service = cluster.serve({ pods: [home.pods[0]!], targetPorts: { http: 9, udp: 9 } });
    for (const end of ends) {
      const tcp = service.nodePort('http', a!, end);
      assert.throws(() => askHttp(client!, tcp), { code: 'ECONNREFUSED' });
      const udp = service.nodePort('udp', a!, end);
      assert.throws(() => askUdp(client!, udp, 'anybody?'), { code: 'ECONNREFUSED' });
      // With a checksum that is not left to the device, as on a real wire.
      const ip = { src: client!.addresses[end], dst: a!.addresses[end] };
      const ports = { sport: 4000, dport: udp.port };
      const datagram = (hops: number) =>
        (end === 'v4' ? ipv4({ ...ip, ttl: hops }) : ipv6({ ...ip, hopLimit: hops }))
          .udp(ports)
          .payload('anybody?');
      using tap = Tap.open(client!, 'eth0');
      tap.send(datagram(64).within(eth(client!.firstHop)));
      const { packet } = tap.find('error', (each) => `${each.packet}`.includes('port-unreachable'));
      assert.ok(`${packet}`.includes(`${a!.addresses[end]} > ${client!.addresses[end]} `));
      const hops = 64 - (home === a ? 2 : 3);
      assertPacket(packet.embedded!.bytes, datagram(hops));
    }
    cluster.remove(service);
  }
});
