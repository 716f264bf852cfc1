import type { DnsAnswer } from '@heddle/datapath';
import { LimitedFeed } from '../../control/limited-feed.ts';
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
import type { DnsEntry } from './status.ts';

/** The answers of name servers that followers get in a second. */
const answersPerSecond = 1000;

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
  readonly #answers: LimitedFeed<DnsAnswer>;

  constructor(host: FeatureHost, datapath: FlowsDatapath) {
    this.#host = host;
    this.#answers = new LimitedFeed({
      ...{ platform: host.platform, perSecond: answersPerSecond, entryOf: dnsEntry },
      watch: (onAnswer) => datapath.dnsAnswers.watch(onAnswer),
    });
    this.methods = {
      ...flowMethods(datapath, () => host.owners()),
      'dns.follow': (_params, follow) => {
        this.#answers.follow(follow);
        return { following: true };
      },
    };
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

  [Symbol.dispose](): void {
    this.#answers[Symbol.dispose]();
  }
}

function dnsEntry({ message, ...ends }: DnsAnswer): DnsEntry {
  return {
    ...ends,
    message: Array.from(message, (byte) => byte.toString(16).padStart(2, '0')).join(''),
  };
}
