import type { MetricFacts } from '../../metrics/agent-metrics.ts';
import type { Registry, Sample } from '../../metrics/registry.ts';
import type { NodeMode } from './status.ts';

/** Registers the metrics of paths to other nodes. */
export function addNodeRouteMetrics(
  registry: Registry<MetricFacts>,
  modes: () => Readonly<Record<NodeMode, number>>,
): void {
  registry.samples(
    'gauge',
    'heddle_nodes',
    'Other nodes by the path to their pods: direct, tunnel, mixed if the families differ, none if it cannot be reached.',
    ['mode'],
    () => Object.entries(modes()).map(([mode, count]): Sample => [[mode], count]),
  );
}
