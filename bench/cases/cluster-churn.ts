import { Cluster } from '../cluster/cluster.ts';
import { lags, markerMs, type Sighting } from '../cluster/lag.ts';
import { median, quantile, spread } from '../statistics.ts';
import { type Case, verdict } from './case.ts';

const name = 'cluster-churn';
const MiB = 2 ** 20;
const perSecond = 1_000;
const burst = 5;
/** The first of a burst is on its way to the kernel when the others come. */
const maxWritesPerChange = 2 / burst;
/** The largest ratio of late samples to early ones that counts as no growth. */
const lagWithinMs = 20;
const flatWithin = 1.05;

/** A thousand changes each second. */
export const clusterChurn: Case = {
  name,
  about: `${perSecond} changes per second at the API server: how far the kernel lags behind`,
  commands: [],
  sizes: () => [5_000],
  async measure(world, services, quick) {
    await using cluster = await Cluster.open(world, name, { services, endpoints: 2 });
    await cluster.settle();
    const seconds = quick ? 6 : 60;
    const seen: Sighting[] = [];
    const resident: number[] = [];
    const eventsBefore = await cluster.agent.events();
    const cpuBefore = cluster.agent.cpuNs();
    const { changes, markers } = await cluster.churn(
      { perSecond, seconds, services: 500, burst, endpoints: 2 },
      (sighting) => {
        if (sighting.endpoints !== seen.at(-1)?.endpoints) seen.push(sighting);
        const due = (resident.length * markerMs * 1e6) as number;
        if (sighting.atNs - seen[0]!.atNs >= due) {
          resident.push(cluster.agent.residentBytes() / MiB);
        }
      },
    );
    const cpuUs = (cluster.agent.cpuNs() - cpuBefore) / changes / 1000;
    const writes = (await cluster.agent.events()) - eventsBefore;
    const times = lags(markers, seen);
    const fifth = (values: readonly number[], n: number) =>
      values.slice((n * values.length) / 5, ((n + 1) * values.length) / 5);
    const growth = median(fifth(times, 4)) - median(fifth(times, 0));
    const flat = median(fifth(resident, 4)) / median(fifth(resident, 2));
    const what = { case: name, size: services };
    return {
      rows: [
        {
          ...{ ...what, variant: `heddle agent, ${seconds} s` },
          ...{ p50Us: median(times) * 1000, ratioToDirect: null, spread: spread(times) * 1000 },
          ...{ p99Us: quantile(times, 0.99) * 1000, cpuUsPerChange: cpuUs, changes },
          ...{ medianMiB: median(resident), mostMiB: Math.max(...resident) },
        },
      ],
      verdicts: [
        verdict(
          { ...what, what: `lag in the last fifth of ${seconds} s - in the first` },
          growth,
          { atMost: lagWithinMs },
          ' ms',
        ),
        verdict({ ...what, what: 'resident, last fifth / third fifth' }, flat, {
          atMost: flatWithin,
        }),
        verdict(
          { ...what, what: `rows written per change, ${burst} to a service` },
          writes / changes,
          {
            atMost: maxWritesPerChange,
          },
        ),
      ],
      notes: [],
    };
  },
};
