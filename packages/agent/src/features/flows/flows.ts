import type {
  Feature,
  FeatureDefinition,
  FeatureHost,
  Methods,
  WarningFacts,
} from '../../feature.ts';
import type { MetricFacts } from '../../metrics/agent-metrics.ts';
import type { Registry } from '../../metrics/registry.ts';
import { localPorts, parsePortRange, snatPortConflict } from '../../snat-ports.ts';
import { flowMethods } from './control.ts';
import type { FlowsDatapath } from './datapath.ts';
import { addFlowMetrics } from './metrics.ts';
import { flowPressure } from './pressure.ts';

/** The flow table and its SNAT ports, which all features share. It is made of no objects. */
export const flowsFeature: FeatureDefinition<FlowsDatapath> = {
  name: 'flows',
  kinds: [],
  dump: ['flow.list', 'nat.list'],
  remedies: { nat_flows: 'raise sizes.flows' },
  open: (host, datapath) => new FlowsFeature(host, datapath),
};

class FlowsFeature implements Feature {
  readonly watches = [];
  readonly methods: Methods;
  readonly #host: FeatureHost;

  constructor(host: FeatureHost, datapath: FlowsDatapath) {
    this.#host = host;
    this.methods = flowMethods(datapath, () => host.owners());
  }

  apply(): void {}

  warnings({ datapath }: WarningFacts): readonly string[] {
    const { platform, config } = this.#host;
    const conflict = snatPortConflict(parsePortRange(config.snatPorts)!, localPorts(platform));
    return [...flowPressure(datapath.nat), ...(conflict === undefined ? [] : [conflict])];
  }

  addMetrics(registry: Registry<MetricFacts>): void {
    addFlowMetrics(registry);
  }

  [Symbol.dispose](): void {}
}
