import type { DenialReasons, VerdictEntry, VerdictRule } from '@heddle/agent';
import type { Decision } from '../flows/record.ts';
import { PolicyDecision_Relation, TrafficDirection, Verdict } from '../generated/flow/flow_pb.js';

/** A direction as the agent names it. */
export type Side = 'egress' | 'ingress';

/** The direction of each side. */
export const directions: Readonly<Record<Side, TrafficDirection>> = {
  egress: TrafficDirection.EGRESS,
  ingress: TrafficDirection.INGRESS,
};

/** Returns the decision of the rule that has decided. */
export function deciding(rule: VerdictRule, side: Side, verdict: Verdict): Decision {
  return decisionOf(rule, side, verdict, PolicyDecision_Relation.DECIDES);
}

/** Returns the decisions about a connection that no rule allows: the policies that isolate the pod, and the nearest rules. */
export function defaultDenial(
  { isolatedBy, nearest }: DenialReasons,
  side: Side,
  verdict: Verdict,
): Decision[] {
  return [
    ...isolatedBy.map(
      (policy): Decision => ({
        ...{ direction: directions[side], verdict, relation: PolicyDecision_Relation.ISOLATES },
        ...{ policy: policyOf(policy), rule: 0, ruleName: '' },
      }),
    ),
    ...nearest.map((rule) =>
      decisionOf(rule, side, Verdict.FORWARDED, PolicyDecision_Relation.NEAREST),
    ),
  ];
}

/** Returns the decisions of the rules that have allowed a connection; undefined if there are none. */
export function allowing(
  entry: Pick<VerdictEntry, 'outcome' | 'direction' | 'egressRule' | 'ingressRule'>,
): readonly Decision[] | undefined {
  const sides = (['egress', 'ingress'] as const).filter((side) => side !== entry.direction);
  const decisions = sides.flatMap((side) => {
    const rule = side === 'egress' ? entry.egressRule : entry.ingressRule;
    return rule ? [deciding(rule, side, Verdict.FORWARDED)] : [];
  });
  return decisions.length > 0 ? decisions : undefined;
}

function decisionOf(
  { policy, rule, name }: VerdictRule,
  side: Side,
  verdict: Verdict,
  relation: PolicyDecision_Relation,
): Decision {
  return {
    ...{ direction: directions[side], verdict, relation, policy: policyOf(policy) },
    // The agent counts from 0.
    ...{ rule: rule + 1, ruleName: name ?? '' },
  };
}

/** Reads `NetworkPolicy default/web` or `ClusterNetworkPolicy baseline`. */
function policyOf(key: string): Decision['policy'] {
  const space = key.indexOf(' ');
  const slash = key.indexOf('/', space);
  return {
    kind: key.slice(0, space),
    namespace: slash < 0 ? '' : key.slice(space + 1, slash),
    name: key.slice((slash < 0 ? space : slash) + 1),
  };
}
