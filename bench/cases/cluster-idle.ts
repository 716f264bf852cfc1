import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster } from '../cluster/cluster.ts';
import { type Case, verdict } from './case.ts';

const name = 'cluster-idle';

/** Nothing happens in the cluster. */
export const clusterIdle: Case = {
  name,
  about: 'nothing changes: how often the agent wakes up',
  commands: [],
  sizes: () => [5_000],
  async measure(world, services, quick) {
    await using cluster = await Cluster.open(world, name, { services, endpoints: 2 });
    // The agent checks for memory to return at growing intervals, in the end once a minute. The quick run sees more checks.
    await sleep(quick ? 10_000 : 65_000);
    const seconds = quick ? 10 : 60;
    const wakeUpsBefore = cluster.agent.wakeUps();
    const cpuBefore = cluster.agent.cpuNs();
    await sleep(seconds * 1000);
    const wakeUps = cluster.agent.wakeUps() - wakeUpsBefore;
    const cpuMs = (cluster.agent.cpuNs() - cpuBefore) / 1e6;
    const what = { case: name, size: services };
    return {
      rows: [
        {
          ...{ ...what, variant: `heddle agent, ${seconds} s` },
          ...{ p50Us: null, ratioToDirect: null, spread: null },
          ...{ wakeUps, writeCpuMs: cpuMs },
        },
      ],
      verdicts: [
        // Bookmarks of four watches and one look for memory, each of them once a minute.
        ...(quick
          ? []
          : [
              verdict({ ...what, what: 'wake-ups per second' }, wakeUps / seconds, {
                atMost: 0.25,
              }),
            ]),
      ],
      notes: [],
    };
  },
};
