import { Cluster } from '../cluster/cluster.ts';
import { median, quantile, spread } from '../statistics.ts';
import { type Case, type Row, verdict } from './case.ts';

const name = 'cluster-scale';
const MiB = 2 ** 20;
const endpoints = 5;
/** The largest ratio of growth per service, in the upper half of the sizes to the lower, that counts as linear. */
const linearWithin = 1.25;

/** 20,000 services with 100,000 endpoints, and half and a quarter of that for the cost of each. */
export const clusterScale: Case = {
  name,
  about: '20,000 services with 100,000 endpoints: start, changes, memory for each service',
  commands: [],
  sizes: () => [20_000],
  async measure(world, largest, quick) {
    const rows: Row[] = [];
    const resident: number[] = [];
    const sizes = [largest / 4, largest / 2, largest];
    for (const services of sizes) {
      await using cluster = await Cluster.open(world, name, { services, endpoints });
      const { fromConnectMs, peakMiB, cpuMs } = cluster.arrival;
      await cluster.settle();
      const atStartMiB = cluster.agent.residentBytes() / MiB;
      resident.push(atStartMiB);
      await cluster.changes(50);
      const times = await cluster.changes(quick ? 100 : 1_000);
      rows.push({
        ...{ case: name, size: services, variant: 'all programmed' },
        ...{ p50Us: fromConnectMs * 1000, ratioToDirect: null, spread: null },
        ...{ writeCpuMs: cpuMs, atStartMiB, mostMiB: peakMiB },
      });
      rows.push({
        ...{ case: name, size: services, variant: 'change' },
        ...{ p50Us: median(times) * 1000, ratioToDirect: null, spread: spread(times) * 1000 },
        ...{ p99Us: quantile(times, 0.99) * 1000, changes: times.length },
      });
    }
    const [programmed, change] = rows.slice(-2) as [Row, Row];
    const [small, middle, large] = resident as [number, number, number];
    const perServiceKiB = ((large - small) * 1024) / (largest - largest / 4);
    const linear = (large - middle) / 2 / (middle - small);
    const what = { case: name, size: largest };
    return {
      rows,
      verdicts: [
        verdict(
          { ...what, what: 'connect to all programmed' },
          programmed.p50Us! / 1000,
          { atMost: 10_000 },
          ' ms',
          0,
        ),
        verdict(
          { ...what, what: 'change to programmed, p99' },
          (change.p99Us as number) / 1000,
          { atMost: 30 },
          ' ms',
        ),
        verdict(
          { ...what, what: `resident, growth per service above / below ${largest / 2}` },
          linear,
          { atMost: linearWithin },
        ),
      ],
      notes: [
        `a service with ${endpoints} endpoints costs ${perServiceKiB.toFixed(1)} KiB of resident memory (${sizes.length} sizes: ${resident.map((each) => each.toFixed(0)).join(', ')} MiB)`,
      ],
    };
  },
};
