import { Cluster } from '../cluster/cluster.ts';
import { median, quantile, spread } from '../statistics.ts';
import { type Case, verdict } from './case.ts';

const name = 'cluster-change';

/** The endpoints of one service change, while all the others stay programmed. */
export const clusterChange: Case = {
  name,
  about: 'endpoints change: from the API server to programmed',
  commands: [],
  sizes: () => [5_000],
  async measure(world, services, quick) {
    await using cluster = await Cluster.open(world, name, { services, endpoints: 2 });
    await cluster.settle();
    await cluster.changes(100);
    const count = quick ? 300 : 1_000;
    const cpuBefore = cluster.agent.cpuNs();
    const times = await cluster.changes(count);
    const cpuMs = (cluster.agent.cpuNs() - cpuBefore) / count / 1e6;
    const p99Ms = quantile(times, 0.99);
    const what = { case: name, size: services };
    return {
      rows: [
        {
          ...{ ...what, variant: 'heddle agent' },
          ...{ p50Us: median(times) * 1000, ratioToDirect: null, spread: spread(times) * 1000 },
          ...{ p99Us: p99Ms * 1000, cpuUsPerChange: cpuMs * 1000, changes: count },
        },
      ],
      verdicts: [
        verdict({ ...what, what: 'change to programmed, p99' }, p99Ms, { atMost: 20 }, ' ms'),
        verdict({ ...what, what: 'CPU per change' }, cpuMs, { atMost: 3 }, ' ms'),
      ],
      notes: [],
    };
  },
};
