import { type Arrival, Cluster } from '../cluster/cluster.ts';
import { median, spread } from '../statistics.ts';
import { type Case, verdict } from './case.ts';

const name = 'cluster-start';

/** A fresh node, and 16 MB of Services and EndpointSlices at the API server. */
export const clusterStart: Case = {
  name,
  about: 'from the first connection to the API server to all services programmed, on one processor',
  commands: [],
  sizes: () => [5_000],
  async measure(world, services, quick) {
    const arrivals: Arrival[] = [];
    for (let i = 0; i < (quick ? 2 : 5); i++) {
      await using cluster = await Cluster.open(world, name, { services, endpoints: 2 });
      arrivals.push(cluster.arrival);
    }
    const programmed = arrivals.map(({ fromConnectMs }) => fromConnectMs);
    const peakMiB = Math.max(...arrivals.map(({ peakMiB }) => peakMiB));
    const fromStart = median(arrivals.map(({ fromStartMs }) => fromStartMs));
    const what = { case: name, size: services };
    return {
      rows: [
        {
          ...{ ...what, variant: 'heddle agent' },
          ...{
            p50Us: median(programmed) * 1000,
            ratioToDirect: null,
            spread: spread(programmed) * 1000,
          },
          ...{ writeCpuMs: median(arrivals.map(({ cpuMs }) => cpuMs)), mostMiB: peakMiB },
          fromStartUs: fromStart * 1000,
        },
      ],
      verdicts: [
        verdict(
          { ...what, what: 'connect to all programmed' },
          median(programmed),
          { atMost: 2_000 },
          ' ms',
          0,
        ),
        verdict({ ...what, what: 'most resident, ever' }, peakMiB, { atMost: 100 }, ' MiB', 0),
      ],
      notes: [],
    };
  },
};
