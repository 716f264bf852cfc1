import type { PeerRecord, PortRecord } from '@heddle/objects';
import {
  comparePolicies,
  type Direction,
  type PolicyRecord,
  type PolicyWorld,
  policyKey,
  tierOf,
} from '@heddle/policy';
import { peerContains, portContains, subjectContains } from '../contain.ts';
import { counted, listed } from '../texts.ts';
import { type Finding, type PlacedRule, rulesOf, type Subject } from './finding.ts';
import { selectedPods } from './parts.ts';

/** A rule that decides before another one. */
interface Earlier extends PlacedRule {
  readonly policy: PolicyRecord;
}

/** Returns the rules of a policy that never decide, because rules before them always do, and those that add nothing. */
export function shadowFindings(subject: Subject): readonly Finding[] {
  const { policy, cluster } = subject;
  const { world } = cluster;
  return rulesOf(policy).flatMap((placed): Finding[] => {
    const at = `spec.${placed.direction}[${placed.number}]`;
    if (isEmpty(placed.rule.peers) || isEmpty(placed.rule.ports)) return [];
    const covering = coveringRules(world, policy, placed);
    if (covering.length > 0) {
      const names = listed(covering.map((each) => ownName(policy, each)));
      const isSame = covering.every(
        (each) => tierOf(each.policy) === 'NetworkPolicy' && tierOf(policy) === 'NetworkPolicy',
      );
      return [
        isSame
          ? {
              ...{ severity: 'note', code: 'redundant', at },
              message: `${at} adds nothing: ${names} ${covering.length === 1 ? 'allows' : 'allow'} all of it already`,
            }
          : {
              ...{ severity: 'warning', code: 'shadowed', at },
              message: `${at} never decides: ${names} ${covering.length === 1 ? 'comes' : 'come'} first and ${covering.length === 1 ? 'matches' : 'match'} all of it`,
            },
      ];
    }
    return isolatedAlready(subject, placed.direction, at);
  });
}

const isEmpty = (list: readonly unknown[] | undefined) => list !== undefined && list.length === 0;

function ownName(
  policy: PolicyRecord,
  { direction, number, rule, policy: other }: Earlier,
): string {
  const name = rule.name === '' ? '' : ` "${rule.name}"`;
  return policyKey(other) === policyKey(policy)
    ? `${direction}[${number}]${name}`
    : `${direction}[${number}]${name} of ${policyKey(other)}`;
}

/**
 * Returns the rules that together match all that a rule matches, and decide before it; none if there is a part that none
 * of them matches.
 */
function coveringRules(
  world: PolicyWorld,
  policy: PolicyRecord,
  placed: PlacedRule,
): readonly Earlier[] {
  const earlier = earlierRules(world, policy, placed);
  if (earlier.length === 0) return [];
  const peers: readonly (PeerRecord | undefined)[] = placed.rule.peers ?? [undefined];
  const ports: readonly (PortRecord | undefined)[] = placed.rule.ports ?? [undefined];
  const used = new Set<Earlier>();
  for (const peer of peers) {
    for (const port of ports) {
      const cover = earlier.find((each) => {
        const [itsPeers, itsPorts] = [
          each.rule.peers ?? [undefined],
          each.rule.ports ?? [undefined],
        ];
        return (
          itsPeers.some((own) =>
            peerContains(world, { policy: each.policy, peer: own }, { policy, peer }),
          ) && itsPorts.some((own) => portContains(own, port))
        );
      });
      if (!cover) return [];
      used.add(cover);
    }
  }
  return [...used];
}

const orders = new WeakMap<PolicyWorld, readonly PolicyRecord[]>();

/** Returns the policies of a world that does not change, in the order of precedence. */
function inOrder(world: PolicyWorld): readonly PolicyRecord[] {
  const known = orders.get(world);
  if (known) return known;
  const sorted = [...world.policies.values()].sort(comparePolicies);
  orders.set(world, sorted);
  return sorted;
}

/** Returns the rules of the same direction that decide before a rule for all pods that its policy selects. */
function earlierRules(
  world: PolicyWorld,
  policy: PolicyRecord,
  { direction, number }: PlacedRule,
): readonly Earlier[] {
  const own = policyKey(policy);
  const before: Earlier[] = [];
  let passes = false;
  for (const other of inOrder(world)) {
    const isOwn = policyKey(other) === own;
    if (!isOwn && comparePolicies(other, policy) > 0) break;
    // What is only recorded decides nothing; a recorded policy is compared with the others of its kind only.
    const counts =
      (!world.isAudited(other) || world.isAudited(policy)) &&
      (isOwn || subjectContains(world, other, policy));
    const rules = other[direction] ?? [];
    for (const [index, rule] of rules.entries()) {
      if (isOwn && index >= number) break;
      const isPass = rule.action === 'pass' && tierOf(other) === 'Admin';
      if (isPass) passes ||= !world.isAudited(other);
      if (counts) before.push({ direction, number: index, rule, policy: other });
    }
    if (isOwn) break;
  }
  if (tierOf(policy) === 'Admin') return before;
  // A rule with Pass takes connections out of the tier Admin, so what comes after it there may not decide.
  return before.filter(
    (each) => tierOf(each.policy) !== 'Admin' || (!passes && each.rule.action !== 'pass'),
  );
}

/** Returns a warning if NetworkPolicies isolate all pods that a policy of the tier Baseline selects. */
function isolatedAlready(subject: Subject, direction: Direction, at: string): Finding[] {
  const { policy, cluster } = subject;
  const { world } = cluster;
  if (tierOf(policy) !== 'Baseline') return [];
  const pods = selectedPods(subject);
  const isIsolated = pods.every((pod) =>
    world
      .policiesOf(pod)
      .some(
        (other) =>
          other.kind === 'networkPolicy' &&
          other[direction] !== undefined &&
          !world.isAudited(other),
      ),
  );
  if (pods.length === 0 || !isIsolated) return [];
  const message = `${at} never decides: NetworkPolicies isolate ${pods.length === 1 ? 'the pod' : `all ${counted(pods.length, 'pod')}`} that it selects, and come before the tier Baseline`;
  return [{ severity: 'warning', code: 'shadowed', at, message }];
}
