import { localPolicies, networkPolicy, peerPod, portOf, scaleOf } from '../policy/objects.ts';
import { PolicyCluster } from '../policy/policy-cluster.ts';
import { median, quantile, spread } from '../statistics.ts';
import { type Case, type Row, type Verdict, verdict } from './case.ts';

const name = 'policy-change';
const pods = 250;
const MiB = 1024 * 1024;

/** Policies and labels of pods change, while 250 pods of the node have 100 of 5,000 policies. */
export const policyChange: Case = {
  name,
  about: 'a policy or the labels of a peer change: from the API server to programmed',
  commands: [],
  sizes: () => [5_000],
  async measure(world, size, quick) {
    const scale = scaleOf(size);
    await using cluster = await PolicyCluster.open(world, name, pods);
    await cluster.settle();
    const without = cluster.agent.residentBytes();
    await cluster.fill(scale);
    await cluster.settle();
    const resident = (cluster.agent.residentBytes() - without) / MiB;
    const what = { case: name, size };
    const count = quick ? 200 : 1_000;
    const policy = await measureChanges(cluster, count, (i) => {
      const n = i % localPolicies;
      return networkPolicy(n, portOf(n) + 1 + (Math.floor(i / localPolicies) % 2));
    });
    const peer = await measureChanges(cluster, count, (i) =>
      peerPod((i * 7919) % scale.peers, (i + 1) % localPolicies),
    );
    const bpf = cluster.bpfBytes() / MiB;
    return {
      rows: [
        rowOf(size, 'heddle, policy', policy),
        rowOf(size, 'heddle, peer', peer),
        {
          ...{ ...what, variant: 'heddle agent' },
          ...{ p50Us: null, ratioToDirect: null, spread: null, mostMiB: resident },
        },
      ],
      verdicts: [
        ...verdictsOf(size, 'a policy changes', policy, { p99Ms: 20, cpuMs: 5 }),
        ...verdictsOf(size, 'a peer changes its labels', peer, { p99Ms: 10, cpuMs: 1 }),
        verdict(
          { ...what, what: `agent's memory for ${scale.peers} peers` },
          resident,
          { atMost: 60 },
          ' MiB',
          1,
        ),
        verdict({ ...what, what: 'memory of the maps' }, bpf, { atMost: 20 }, ' MiB', 1),
      ],
      notes: [],
    };
  },
};

interface Changes {
  readonly times: readonly number[];
  readonly cpuMs: number;
}

async function measureChanges(
  cluster: PolicyCluster,
  count: number,
  objectOf: (i: number) => Parameters<PolicyCluster['change']>[0],
): Promise<Changes> {
  const warmUp = 100;
  for (let i = 0; i < warmUp; i++) await cluster.change(objectOf(i));
  const times: number[] = [];
  const before = cluster.agent.cpuNs();
  for (let i = warmUp; i < warmUp + count; i++) times.push(await cluster.change(objectOf(i)));
  return { times, cpuMs: (cluster.agent.cpuNs() - before) / count / 1e6 };
}

function rowOf(size: number, variant: string, { times, cpuMs }: Changes): Row {
  return {
    ...{ case: name, size, variant, ratioToDirect: null },
    ...{ p50Us: median(times) * 1000, spread: spread(times) * 1000 },
    ...{ p99Us: quantile(times, 0.99) * 1000, cpuUsPerChange: cpuMs * 1000 },
    changes: times.length,
  };
}

function verdictsOf(
  size: number,
  what: string,
  { times, cpuMs }: Changes,
  limits: { readonly p99Ms: number; readonly cpuMs: number },
): Verdict[] {
  const about = (text: string) => ({ case: name, size, what: `${what}, ${text}` });
  const p99Ms = quantile(times, 0.99);
  return [
    verdict(about('p99'), p99Ms, { atMost: limits.p99Ms }, ' ms'),
    verdict(about('CPU'), cpuMs, { atMost: limits.cpuMs }, ' ms'),
  ];
}
