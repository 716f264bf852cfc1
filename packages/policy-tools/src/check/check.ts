import { type PolicyRecord, policyKey, type Tier, tierOf } from '@heddle/policy';
import type { ClusterObjects } from '../cluster.ts';
import type { RawRemarks } from '../raw-remarks.ts';
import { podName, ruleText } from '../texts.ts';
import { dnsFindings } from './dns.ts';
import { type Finding, rulesOf, type Severity } from './finding.ts';
import { matchFindings, peerPods, selectedPods, textFindings } from './parts.ts';
import { shadowFindings } from './shadow.ts';

/** The content of a rule, and the number of pods that it names now. */
export interface CheckedRule {
  /** `ingress[0]`. */
  readonly rule: string;
  readonly name: string;
  /** `allows TCP/80 from pods with app=web of namespace shop`. */
  readonly text: string;
  /** The pods that are peers now; undefined if the rule does not select pods. */
  readonly peerPods: number | undefined;
}

/** Facts about a policy before it is applied. */
export interface CheckedPolicy {
  readonly policy: string;
  readonly tier: Tier;
  /** Lower values come first; 0 for NetworkPolicies. */
  readonly priority: number;
  readonly isAudited: boolean;
  /** The pods that it selects, `namespace/name`, in order. */
  readonly pods: readonly string[];
  /** The directions that the policy is about. For these, a NetworkPolicy denies what no rule allows. */
  readonly directions: readonly ('ingress' | 'egress')[];
  readonly rules: readonly CheckedRule[];
  /** Errors first. */
  readonly findings: readonly Finding[];
}

const severities: readonly Severity[] = ['error', 'warning', 'note'];

/** Checks a policy against the objects of a cluster, of which it is one. */
export function checkPolicy(
  cluster: ClusterObjects,
  policy: PolicyRecord,
  remarks?: RawRemarks,
): CheckedPolicy {
  const subject = { cluster, policy, remarks };
  const findings = [
    ...textFindings(subject),
    ...matchFindings(subject),
    ...shadowFindings(subject),
    ...dnsFindings(subject),
  ];
  const directions = (['ingress', 'egress'] as const).filter((direction) =>
    policy.kind === 'networkPolicy'
      ? policy[direction] !== undefined
      : policy[direction].length > 0,
  );
  return {
    policy: policyKey(policy),
    tier: tierOf(policy),
    priority: policy.kind === 'networkPolicy' ? 0 : policy.priority,
    isAudited: cluster.world.isAudited(policy),
    pods: selectedPods(subject).map(podName).sort(),
    directions,
    rules: rulesOf(policy).map(({ direction, number, rule }) => ({
      rule: `${direction}[${number}]`,
      name: rule.name,
      text: ruleText(rule, policy, direction),
      peerPods: rule.peers?.some(({ type }) => type === 'pods')
        ? peerPods(subject, rule.peers).length
        : undefined,
    })),
    findings: findings.sort(
      (a, b) => severities.indexOf(a.severity) - severities.indexOf(b.severity),
    ),
  };
}
