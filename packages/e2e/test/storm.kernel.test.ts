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
import { ManifestLab } from '../testing/manifest-lab.ts';
import { endpoint, service, slice } from '../testing/objects.ts';

const ipVersions = ['v4', 'v6'] as const;
const clusterIPs = ['10.96.0.1', 'fd00:96::1'];
const nodePort = 30_080;
/** The number of SYNs of the flood. */
const syns = Number(process.env.HEDDLE_SYNS ?? 2_000_000);
const established = 1000;
/**
 * The number of connections during a rolling update; HEDDLE_CONNECTIONS=200000 is the full test.
 */
const connections = Number(process.env.HEDDLE_CONNECTIONS ?? 20_000);

describe('storms of external traffic', () => {
  let agentLab: ManifestLab;
  afterEach(() => agentLab?.[Symbol.dispose]());

  /** Returns a service with a NodePort and endpoints with the given conditions at `port`. */
  const web = (port: number, pods: readonly [LabPod, Parameters<typeof endpoint>[1]][]) => [
    service('web', clusterIPs, {
      type: 'NodePort',
      ipFamilyPolicy: 'RequireDualStack',
      ports: [{ port: 80, nodePort }],
    }),
    ...ipVersions.map((end) =>
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
    const [, value] = pattern.exec(askHttp(agentLab.node, to, '/metrics')) ?? [];
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

  test(`${syns} spoofed SYNs: ${established} connections continue, and memory is bounded`, async () => {
    agentLab = new ManifestLab('syn-storm', { nodes: 2, podsPerNode: 1, outside: 2 });
    const { lab } = agentLab;
    const [client, attacker] = [lab.outside[0]!, lab.outside[1]!];
    await Promise.all(lab.pods.map((pod) => startBackend(pod, { echo: [8081] })));
    await agentLab.start('--metrics-address', '127.0.0.1:10249');
    await agentLab.apply(
      'web.yaml',
      ...web(8081, [
        [lab.pods[0]!, {}],
        [lab.pods[1]!, {}],
      ]),
    );
    const to = { address: agentLab.node.addresses.v4, port: nodePort };
    const sockets = Array.from({ length: established }, () => connectTcp(client, to));
    try {
      const exchange = (word: string) => {
        for (const socket of sockets) socket.send(word);
        for (const socket of sockets) assert.equal(received(socket), word);
      };
      exchange('before');
      const before = { kernel: kernelMemory(agentLab), agent: resident(), evictions: evictions() };
      let over = false;
      const flood = floodWithSyns(attacker, { to, count: syns }).finally(() => {
        over = true;
      });
      let rounds = 0;
      // At least once during the flood, however slow the machine is.
      for (; !over; rounds++) {
        exchange(`during ${rounds}`);
        await sleep(50);
      }
      await flood;
      assert.ok(rounds > 1);
      const { nat } = (await agentLab.status()).datapath;
      assert.ok(nat.unanswered <= nat.unansweredLimit + 1, `${nat.unanswered}`);
      assert.ok(nat.flows <= nat.unanswered + established + 100, `${nat.flows} flows`);
      const limit = metric(/^heddle_flows_unanswered_limit (.*)$/m);
      assert.ok(metric(/^heddle_flows_unanswered (.*)$/m) <= limit + 1);
      exchange('after');
      const evicted = evictions() - before.evictions;
      // All except those with a flow and those that the attacker's own interface dropped.
      const most = syns - nat.unansweredLimit;
      assert.ok(evicted > 0.8 * most, `${evicted} of ${syns} gave way and were counted`);
      // One counter for the refusals of this service, and no state for each of them.
      const more = kernelMemory(agentLab) - before.kernel;
      assert.ok(more < 4096, `the maps have taken ${more} bytes`);
      assert.ok(resident() < before.agent + 32 * 2 ** 20, `${before.agent} became ${resident()}`);
    } finally {
      for (const socket of sockets) socket[Symbol.dispose]();
    }
  });

  test(`${connections} connections: none fails while backends and the agent are replaced`, async (t) => {
    agentLab = new ManifestLab('rolling', { nodes: 2, podsPerNode: 3, outside: 1 });
    const { lab } = agentLab;
    const [client] = lab.outside;
    const serve = (pod: LabPod, n: number) =>
      startBackend(pod, { http: [8080], name: `${pod.name}, the ${n}.` });
    // The last backend is replaced later.
    const pods = [...lab.pods];
    const running = new Map(
      await Promise.all(pods.slice(0, -1).map(async (pod) => [pod, await serve(pod, 1)] as const)),
    );
    const sized = ['--max-flows', '262144'];
    await agentLab.start(...sized);
    const ready = {};
    const apply = (...some: readonly [LabPod, Parameters<typeof endpoint>[1]][]) =>
      agentLab.apply('web.yaml', ...web(8080, some));
    await apply(...[...running.keys()].map((pod) => [pod, ready] as [LabPod, object]));
    const run = startHttpClient(client!, {
      requests: connections / ipVersions.length,
      timeoutMs: 10_000,
      targets: Object.fromEntries(
        ipVersions.map((end) => {
          const address = agentLab.node.addresses[end];
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
      const replacement = pods.find((pod) => !running.has(pod))!;
      const rest = [...running.keys()].filter((pod) => pod !== old);
      const started = await serve(replacement, replaced + 2);
      const others = [...rest, replacement].map((pod) => [pod, ready] as [LabPod, object]);
      await apply([old!, { ready: false, serving: true, terminating: true }], ...others);
      // The old backend serves its connections to the end.
      await sleep(500);
      await apply(...others);
      running.get(old!)!.kill();
      running.delete(old!);
      running.set(replacement, started);
      if (replaced++ % 4 !== 1) continue;
      await agentLab.kill();
      await sleep(100);
      await agentLab.start(...sized);
      restarts++;
    }
    const { targets } = await total;
    for (const end of ipVersions) {
      assert.deepEqual(targets[end]!.failures, {}, end);
      assert.equal(targets[end]!.requests, connections / ipVersions.length);
    }
    const answered = new Set(ipVersions.flatMap((end) => Object.keys(targets[end]!.answers)));
    t.diagnostic(`${replaced} backends were replaced, ${restarts} agents killed`);
    assert.ok(replaced >= 3 && restarts >= 1, `${replaced} were replaced, ${restarts} restarts`);
    assert.ok(answered.size > pods.length, 'also those that came later answered');
  });
});

function received(socket: BlockingSocket): string {
  return decodeUtf8(socket.receive());
}

/** Returns the memory that the kernel uses for the maps, in bytes. */
function kernelMemory(agentLab: ManifestLab): number {
  const bpf = new LinuxBpf(agentLab.platform);
  const folder = currentPins(agentLab.node.bpffs).maps;
  const taken = readdirSync(folder).map((name) => {
    using map = BpfMap.openPinned(bpf, `${folder}/${name}`);
    return mapMemory(map);
  });
  return taken.reduce((sum, bytes) => sum + bytes, 0);
}
