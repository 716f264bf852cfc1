import type { FamilyUsage } from '@heddle/ipam';
import type { MetricFacts } from '../../metrics/agent-metrics.ts';
import type { Registry, Sample } from '../../metrics/registry.ts';
import type { Answered } from './cni/verbs.ts';

/** The parts of the pod network that its metrics are read from; undefined without one. */
export interface PodMetricsView {
  readonly count: number;
  readonly usage: readonly FamilyUsage[];
}

/** The metrics that the feature counts itself. */
export interface PodMetrics {
  /** Counts an answered call of the CNI plug-in, and the seconds that it took. */
  answered(call: Answered, seconds: number): void;
}

/** 0.25 ms to 2 s, doubled each time. */
const addBounds = Array.from({ length: 14 }, (_, i) => 0.000_25 * 2 ** i);

/** Registers the metrics of pods. */
export function addPodMetrics(
  registry: Registry<MetricFacts>,
  view: () => PodMetricsView | undefined,
): PodMetrics {
  registry.value('gauge', 'heddle_pods', 'Pod interfaces of this node.', () => view()?.count);
  const byFamily = (count: (usage: FamilyUsage) => number) => () =>
    (view()?.usage ?? []).map((usage): Sample => [[usage.family], count(usage)]);
  registry.samples(
    'gauge',
    'heddle_pod_addresses_used',
    'Addresses that pods of this node have, by family.',
    ['family'],
    byFamily(({ used }) => used),
  );
  registry.samples(
    'gauge',
    'heddle_pod_addresses',
    'Addresses that pods of this node can have, by family.',
    ['family'],
    byFamily(({ total }) => total),
  );
  const addSeconds = registry.histogram(
    'heddle_cni_add_duration_seconds',
    'Time in the agent for a successful ADD of the CNI plug-in.',
    addBounds,
  );
  const failures = registry.counter(
    'heddle_cni_failures_total',
    'Failed calls of the CNI plug-in, by verb and error code.',
    ['verb', 'code'],
  );
  return {
    answered({ verb, error }, seconds) {
      if (error) failures.add(1, verb === '' ? 'unknown' : verb, `${error.code}`);
      else if (verb === 'ADD') addSeconds.observe(seconds);
    },
  };
}
