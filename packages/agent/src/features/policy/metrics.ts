import type { MetricFacts } from '../../metrics/agent-metrics.ts';
import type { Histogram, Registry, Sample } from '../../metrics/registry.ts';
import type { PolicyDatapath } from './datapath.ts';
import type { PolicyStatus } from './status.ts';

/** The metrics that are read when they are asked for; undefined where network policies are off. */
export interface PolicyFacts {
  readonly status: NonNullable<PolicyStatus['policies']>;
  /** The number of policies by state. */
  readonly states: Readonly<Record<'done' | 'pending' | 'failed', number>>;
  readonly datapath: NonNullable<PolicyDatapath['policy']>;
}

/** The bounds of the time that a change takes, in seconds. */
const bounds = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 10];

/** Registers the metrics of network policies. Returns that of the time until a change is programmed. */
export function addPolicyMetrics(
  registry: Registry<MetricFacts>,
  facts: () => PolicyFacts | undefined,
): Histogram {
  registry.samples(
    'gauge',
    'heddle_policies',
    'Network policies that select a pod of this node, by state: done (programmed), pending, failed.',
    ['state'],
    () => Object.entries(facts()?.states ?? {}).map(([state, count]): Sample => [[state], count]),
  );
  const gauge = (name: string, help: string, of: (facts: PolicyFacts) => number) => {
    registry.value('gauge', name, help, () => {
      const present = facts();
      return present && of(present);
    });
  };
  gauge(
    'heddle_policy_rules',
    'Rules of network policies that select a pod of this node.',
    ({ status }) => status.rules,
  );
  gauge(
    'heddle_policy_classes',
    'Classes of peers: addresses that are peers of the same rules.',
    ({ status }) => status.classes,
  );
  gauge(
    'heddle_policy_peers',
    'Addresses and ranges that are peers of rules.',
    ({ status }) => status.peers,
  );
  gauge(
    'heddle_policy_pods_closed',
    'Pods of this node that no packet reaches, because a policy of theirs is not programmed.',
    ({ status }) => status.pods.closed,
  );
  registry.samples(
    'counter',
    'heddle_policy_denied_connections_total',
    'Connections that network policies denied since the start of the agent, by policy and direction. The policy is empty where no rule allowed a connection.',
    ['policy', 'direction'],
    () => {
      const datapath = facts()?.datapath;
      return datapath ? denials(datapath.denied(), datapath.deniedByDefault()) : [];
    },
  );
  registry.samples(
    'counter',
    'heddle_policy_audited_connections_total',
    'Connections that network policies in audit mode would have denied since the start of the agent, by policy and direction. The policy is empty where no rule would have allowed a connection.',
    ['policy', 'direction'],
    () => {
      const datapath = facts()?.datapath;
      return datapath ? denials(datapath.wouldDeny(), datapath.wouldDenyByDefault()) : [];
    },
  );
  return registry.histogram(
    'heddle_policy_programming_seconds',
    'Seconds from the arrival of changes of network policies, pods and namespaces until they were programmed.',
    bounds,
  );
}

type Directions = Readonly<Record<'egress' | 'ingress', bigint>>;

function denials(byPolicy: ReadonlyMap<string, Directions>, byDefault: Directions): Sample[] {
  return [['', byDefault] as const, ...byPolicy].flatMap(([policy, counts]) =>
    Object.entries(counts)
      .filter(([, count]) => count > 0n || policy === '')
      .map(([direction, count]): Sample => [[policy, direction], Number(count)]),
  );
}
