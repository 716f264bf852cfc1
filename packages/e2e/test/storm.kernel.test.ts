import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { afterEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { currentPins } from '@heddle/datapath';
import { BpfMap, LinuxBpf } from '@heddle/ebpf';
import { mapMemory } from '@heddle/ebpf/testing/map-memory';
import {
  askHttp,
  type BlockingSocket,
  connectTcp,
  floodWithSyns,
  type LabPod,
  startBackend,
  startHttpClient,
} from '@heddle/lab';
import { decodeUtf8 } from '@heddle/sys';
import { endpoint, service, slice } from '../testing/objects.ts';
import { Product } from '../testing/product.ts';

const ends = ['v4', 'v6'] as const;
const clusterIPs = ['10.96.0.1', 'fd00:96::1'];
const nodePort = 30_080;
/** Of a flood. */
const syns = Number(process.env.HEDDLE_SYNS ?? 2_000_000);
const established = 1000;
/** During a rolling update; HEDDLE_CONNECTIONS=200000 is the whole of it. */
const connections = Number(process.env.HEDDLE_CONNECTIONS ?? 20_000);

describe('storms from outside, by the agent', () => {
  let product: Product;
  afterEach(() => product?.[Symbol.dispose]());

  /** A service at a NodePort with pods of whatever conditions, served at `port` of theirs. */
  const web = (port: number, pods: readonly [LabPod, Parameters<typeof endpoint>[1]][]) => [
    service('web', clusterIPs, {
      type: 'NodePort',
      ipFamilyPolicy: 'RequireDualStack',
      ports: [{ port: 80, nodePort }],
    }),
    ...ends.map((end) =>
      slice(
        'web',
        pods.map(([pod, conditions]) =>
          endpoint(pod.addresses[end], conditions, { nodeName: pod.node.name }),
        ),
        { name: `web-${end}`, ports: [{ port }] },
      ),
    ),
  ];
  const metric = (pattern: RegExp): number => {
    const to = { address: '127.0.0.1', port: 10_249 };
    const [, value] = pattern.exec(askHttp(product.node, to, '/metrics')) ?? [];
    assert.ok(value !== undefined, `${pattern}`);
    return Number(value);
  };
  const evictions = () => {
    const reasons = [
      'the oldest that was not confirmed',
      'its service, or UDP, had more than its share',
    ];
    return reasons.reduce(
      (sum, reason) =>
        sum + metric(new RegExp(`^heddle_flows_evicted_total\\{reason="${reason}"\\} (.*)$`, 'm')),
      0,
    );
  };
  const resident = () => metric(/^process_resident_memory_bytes (.*)$/m);

  test(`${syns} spoofed SYNs: ${established} connections go on, and memory is bounded`, async () => {
    product = new Product('syn-storm', { nodes: 2, podsPerNode: 1, outside: 2 });
    const { lab } = product;
    const [client, attacker] = [lab.outside[0]!, lab.outside[1]!];
    await Promise.all(lab.pods.map((pod) => startBackend(pod, { echo: [8081] })));
    await product.start('--metrics-address', '127.0.0.1:10249');
    await product.apply(
      'web.yaml',
      ...web(8081, [
        [lab.pods[0]!, {}],
        [lab.pods[1]!, {}],
      ]),
    );
    const to = { address: product.node.addresses.v4, port: nodePort };
    const sockets = Array.from({ length: established }, () => connectTcp(client, to));
    try {
      const exchange = (word: string) => {
        for (const socket of sockets) socket.send(word);
        for (const socket of sockets) assert.equal(said(socket), word);
      };
      exchange('before');
      const before = { kernel: kernelMemory(product), agent: resident(), evictions: evictions() };
      let over = false;
      const flood = floodWithSyns(attacker, { to, count: syns }).finally(() => {
        over = true;
      });
      let rounds = 0;
      // At least once in the thick of it, however slow the machine is.
      for (; !over; rounds++) {
        exchange(`during ${rounds}`);
        await sleep(50);
      }
      await flood;
      assert.ok(rounds > 1);
      const { nat } = (await product.status()).datapath;
      assert.ok(nat.unanswered <= nat.unansweredLimit + 1, `${nat.unanswered}`);
      assert.ok(nat.flows <= nat.unanswered + established + 100, `${nat.flows} flows`);
      const limit = metric(/^heddle_flows_unanswered_limit (.*)$/m);
      assert.ok(metric(/^heddle_flows_unanswered (.*)$/m) <= limit + 1);
      exchange('after');
      const evicted = evictions() - before.evictions;
      // All but what found room, and what the attacker's own device has thrown away.
      const most = syns - nat.unansweredLimit;
      assert.ok(evicted > 0.8 * most, `${evicted} of ${syns} gave way and were counted`);
      // A counter of this service's refusals, and nothing for each of them.
      const more = kernelMemory(product) - before.kernel;
      assert.ok(more < 4096, `the maps have taken ${more} bytes`);
      assert.ok(resident() < before.agent + 32 * 2 ** 20, `${before.agent} became ${resident()}`);
    } finally {
      for (const socket of sockets) socket[Symbol.dispose]();
    }
  });

  test(`${connections} connections while backends are replaced and the agent is: none fails`, async (t) => {
    product = new Product('rolling', { nodes: 2, podsPerNode: 3, outside: 1 });
    const { lab } = product;
    const [client] = lab.outside;
    const serve = (pod: LabPod, n: number) =>
      startBackend(pod, { http: [8080], name: `${pod.name}, the ${n}.` });
    // The last one waits for its turn.
    const pods = [...lab.pods];
    const running = new Map(
      await Promise.all(pods.slice(0, -1).map(async (pod) => [pod, await serve(pod, 1)] as const)),
    );
    const sized = ['--max-flows', '262144'];
    await product.start(...sized);
    const ready = {};
    const apply = (...some: readonly [LabPod, Parameters<typeof endpoint>[1]][]) =>
      product.apply('web.yaml', ...web(8080, some));
    await apply(...[...running.keys()].map((pod) => [pod, ready] as [LabPod, object]));
    const run = startHttpClient(client!, {
      requests: connections / ends.length,
      timeoutMs: 10_000,
      targets: Object.fromEntries(
        ends.map((end) => {
          const address = product.node.addresses[end];
          return [end, [end === 'v4' ? `${address}:${nodePort}` : `[${address}]:${nodePort}`]];
        }),
      ),
    });
    let over = false;
    const total = run.total.finally(() => {
      over = true;
    });
    let replaced = 0;
    let restarts = 0;
    while (!over) {
      const [old] = running.keys();
      const spare = pods.find((pod) => !running.has(pod))!;
      const rest = [...running.keys()].filter((pod) => pod !== old);
      const started = await serve(spare, replaced + 2);
      const others = [...rest, spare].map((pod) => [pod, ready] as [LabPod, object]);
      await apply([old!, { ready: false, serving: true, terminating: true }], ...others);
      // It finishes what it has begun.
      await sleep(500);
      await apply(...others);
      running.get(old!)!.kill();
      running.delete(old!);
      running.set(spare, started);
      if (replaced++ % 4 !== 1) continue;
      await product.kill();
      await sleep(100);
      await product.start(...sized);
      restarts++;
    }
    const { targets } = await total;
    for (const end of ends) {
      assert.deepEqual(targets[end]!.failures, {}, end);
      assert.equal(targets[end]!.requests, connections / ends.length);
    }
    const answered = new Set(ends.flatMap((end) => Object.keys(targets[end]!.answers)));
    t.diagnostic(`${replaced} backends were replaced, ${restarts} agents killed`);
    assert.ok(replaced >= 3 && restarts >= 1, `${replaced} were replaced, ${restarts} restarts`);
    assert.ok(answered.size > pods.length, 'also those that came later answered');
  });
});

function said(socket: BlockingSocket): string {
  return decodeUtf8(socket.receive());
}

/** Bytes that the kernel has taken for the maps. */
function kernelMemory(product: Product): number {
  const bpf = new LinuxBpf(product.platform);
  const folder = currentPins(product.node.bpffs).maps;
  const taken = readdirSync(folder).map((name) => {
    using map = BpfMap.openPinned(bpf, `${folder}/${name}`);
    return mapMemory(map);
  });
  return taken.reduce((sum, bytes) => sum + bytes, 0);
}
