import type { PolicyModel, PolicyRow, PolicyRule, PortRange } from '@heddle/policy';
import type { Rows } from '../../rows.ts';
import type { VerdictRule } from '../../status.ts';
import type { NumberedRule, PolicyDatapath, Verdict } from './datapath.ts';
import type { PolicyDetail, PolicyEntry, PolicyRuleEntry, VerdictEntry } from './status.ts';

/** The parts of the policy feature that requests are answered from. */
export interface PolicyView {
  readonly rows: Pick<Rows<PolicyRow>, 'all' | 'get' | 'status'>;
  readonly datapath: NonNullable<PolicyDatapath['policy']>;
  readonly model: Pick<PolicyModel, 'podsOf' | 'records'>;
}

/** Returns the entries of all policies, in the order of their names. */
export function policyEntries(view: PolicyView): PolicyEntry[] {
  const counts = new Map<string, number>();
  for (const { rule, connections } of view.datapath.rules()) {
    counts.set(rule.policy, (counts.get(rule.policy) ?? 0) + Number(connections));
  }
  return [...view.rows.all()]
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map((row) => entryOf(view, row, counts.get(row.key) ?? 0));
}

/** Returns a policy with its rules and pods, or undefined if none of that name selects a pod of this node. */
export function policyDetail(view: PolicyView, key: string): PolicyDetail | undefined {
  const row = view.rows.get(key);
  if (!row) return undefined;
  const numbered = new Map(Array.from(view.datapath.rules(), (each) => [each.rule, each]));
  const ruleList = row.rules.map((rule) => ruleEntry(rule, numbered.get(rule)));
  const connections = ruleList.reduce((sum, rule) => sum + rule.connections, 0);
  return {
    ...entryOf(view, row, connections),
    ruleList,
    podList: view.model.podsOf(key).toSorted(),
  };
}

/** Returns a rule as requests show it. */
export function ruleEntry(rule: PolicyRule, numbered: NumberedRule | undefined): PolicyRuleEntry {
  const { policy, tier, direction, name, action, anyPeer, ports, domainNames } = rule;
  return {
    ...(numbered ? { number: numbered.number } : {}),
    ...{ policy, tier, direction, rule: rule.number },
    ...(name === '' ? {} : { name }),
    ...{ action, anyPeer },
    ...(ports ? { ports: ports.map(portText) } : {}),
    ...(domainNames.length > 0 ? { domainNames } : {}),
    connections: Number(numbered?.connections ?? 0n),
  };
}

/** Returns a rule as verdicts name it. */
export function verdictRule(
  rule: Pick<PolicyRule, 'policy' | 'number' | 'name' | 'action'> | undefined,
): VerdictRule | undefined {
  if (!rule) return undefined;
  const { policy, number, name, action } = rule;
  return { policy, rule: number, ...(name === '' ? {} : { name }), action };
}

/** Returns a verdict with the names of rules and pods. */
export function verdictEntry(
  verdict: Verdict,
  { datapath }: Pick<PolicyView, 'datapath'>,
  podAt: (address: string) => string | undefined,
): VerdictEntry {
  const { outcome, direction, egressRule, ingressRule, ifindex: _, ...tuple } = verdict;
  const [sourcePod, destinationPod] = [podAt(tuple.source), podAt(tuple.destination)];
  const [egress, ingress] = [egressRule, ingressRule].map((number) =>
    number === undefined ? undefined : verdictRule(datapath.ruleAt(number)),
  );
  return {
    outcome,
    ...(direction === undefined ? {} : { direction }),
    ...tuple,
    ...(sourcePod === undefined ? {} : { sourcePod }),
    ...(destinationPod === undefined ? {} : { destinationPod }),
    ...(egress ? { egressRule: egress } : {}),
    ...(ingress ? { ingressRule: ingress } : {}),
  };
}

function entryOf({ rows, model }: PolicyView, row: PolicyRow, connections: number): PolicyEntry {
  const { key, tier, priority, isAudited, rules, problems } = row;
  const status = rows.status(key);
  return {
    ...{ policy: key, tier, priority, audited: isAudited },
    ...{ rules: rules.length, pods: model.podsOf(key).length, connections, problems },
    status: status?.state ?? 'pending',
    ...(status?.reason === undefined ? {} : { reason: status.reason }),
    since: new Date(status?.since ?? 0).toISOString(),
  };
}

function portText({ protocol, first, last }: PortRange): string {
  return `${protocol} ${first === last ? first : `${first}-${last}`}`;
}
