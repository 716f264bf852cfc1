import type { PeerRecord, PortRecord, Protocol, RuleRecord } from '@heddle/objects';
import { coversName } from './domain-names.ts';
import { isInBlock, type PolicyRecord, policyKey, tierOf, tiers } from './policies.ts';
import type { PolicyWorld } from './policy-world.ts';
import type { Direction, RuleAction, Tier } from './rows.ts';
import { matchesLabels } from './selectors.ts';

// The naive judge: it reads the records of the policies and loops over all of them, as their definition says. It shares
// nothing with PolicyModel but the selectors and the patterns of names, so each is a test of the other.

/** A connection after the translation of services. */
export interface Question {
  /** Addresses in canonical text. */
  readonly from: string;
  readonly to: string;
  /** `other`: ICMP and all other protocols without ports. */
  readonly protocol: Protocol | 'other';
  /** The destination port in host order; 0 for `other`. */
  readonly port: number;
  /** The names, in lower case, that the destination address is known by. */
  readonly names?: readonly string[];
}

/** A rule of a policy. */
export interface RuleRef {
  /** The key of its policy. */
  readonly policy: string;
  readonly tier: Tier;
  readonly direction: Direction;
  /** The position in the list of the policy, from 0. */
  readonly number: number;
  readonly name: string;
  readonly action: RuleAction;
}

/**
 * The reason of a verdict in one direction. `no-pod`: no pod of the cluster is there. `itself`: a pod always reaches
 * itself. `own-node`: a node always reaches its pods. `unknown-namespace`: ClusterNetworkPolicies exist, and the pod's
 * Namespace is not known. `rule`: a rule decided. `default-deny`: NetworkPolicies isolate the pod, and none of their
 * rules allows the connection. `no-rule`: nothing that selects the pod decides, so the connection is allowed.
 */
export type Reason =
  | 'no-pod'
  | 'itself'
  | 'own-node'
  | 'unknown-namespace'
  | 'rule'
  | 'default-deny'
  | 'no-rule';

export interface Verdict {
  readonly allowed: boolean;
  readonly reason: Reason;
  /** The rule that decided. */
  readonly rule: RuleRef | undefined;
  /** The rule of the tier Admin that passed the connection to the next tier. */
  readonly passedBy: RuleRef | undefined;
  /** The keys of the NetworkPolicies that isolate the pod in this direction. */
  readonly isolatedBy: readonly string[];
}

/** A rule that allows a connection like this one, but for its port or its peer. */
export interface NearMiss {
  readonly rule: RuleRef;
  readonly differs: 'port' | 'peer';
}

export interface DirectionJudgement extends Verdict {
  /** The pod that the policies select, `namespace/name`. */
  readonly pod: string | undefined;
  /** The verdict if the policies in audit mode were enforced; undefined if none of these selects the pod. */
  readonly audited: Verdict | undefined;
}

export interface Judgement {
  readonly allowed: boolean;
  readonly egress: DirectionJudgement;
  readonly ingress: DirectionJudgement;
}

/** Returns whether a connection is allowed, and which rules decide in each direction. */
export function judge(world: PolicyWorld, question: Question): Judgement {
  const egress = judgeDirection(world, question, 'egress');
  const ingress = judgeDirection(world, question, 'ingress');
  return { allowed: egress.allowed && ingress.allowed, egress, ingress };
}

/** Returns the judgement about one direction: of the pod at `from` for egress, and at `to` for ingress. */
export function judgeDirection(
  world: PolicyWorld,
  question: Question,
  direction: Direction,
): DirectionJudgement {
  const pod = world.podAt(direction === 'egress' ? question.from : question.to);
  const decided = (allowed: boolean, reason: Reason): DirectionJudgement => ({
    ...{ pod: pod && `${pod.namespace}/${pod.name}`, allowed, reason },
    ...{ rule: undefined, passedBy: undefined, isolatedBy: [], audited: undefined },
  });
  if (!pod) return decided(true, 'no-pod');
  if (world.podAt(question.from) === world.podAt(question.to)) return decided(true, 'itself');
  if (direction === 'ingress') {
    const nodes = world.nodesAt(question.from);
    if (nodes.some(({ name }) => name === pod.nodeName)) return decided(true, 'own-node');
  }
  if (world.isUndecided(pod)) return decided(false, 'unknown-namespace');
  const all = world.policiesOf(pod).filter((policy) => rulesOf(policy, direction) !== undefined);
  const enforced = all.filter((policy) => !world.isAudited(policy));
  const verdict = (policies: readonly PolicyRecord[]) =>
    decide(world, policies, question, direction);
  return {
    pod: `${pod.namespace}/${pod.name}`,
    ...verdict(enforced),
    audited: enforced.length === all.length ? undefined : verdict(all),
  };
}

/**
 * Returns the rules that allow a connection like this one, but for its port (these first) or its peer. They are the
 * enforced rules of the policies that select the pod.
 */
export function nearMisses(
  world: PolicyWorld,
  question: Question,
  direction: Direction,
): readonly NearMiss[] {
  const pod = world.podAt(direction === 'egress' ? question.from : question.to);
  if (!pod) return [];
  const misses: NearMiss[] = [];
  for (const policy of world.policiesOf(pod)) {
    if (world.isAudited(policy)) continue;
    for (const [number, rule] of (rulesOf(policy, direction) ?? []).entries()) {
      if (rule.action !== 'allow') continue;
      const hasPeer = matchesPeer(world, policy, rule, direction, question);
      const hasPort = matchesPort(world, rule, question);
      if (hasPeer === hasPort) continue;
      const differs = hasPeer ? 'port' : 'peer';
      misses.push({ rule: refOf(policy, direction, rule, number), differs });
    }
  }
  return misses.sort((a, b) => Number(a.differs === 'peer') - Number(b.differs === 'peer'));
}

/** `policies` are in the order of precedence. */
function decide(
  world: PolicyWorld,
  policies: readonly PolicyRecord[],
  question: Question,
  direction: Direction,
): Verdict {
  let passedBy: RuleRef | undefined;
  const isolatedBy = policies
    .filter(({ kind }) => kind === 'networkPolicy')
    .map((policy) => policyKey(policy));
  for (const tier of tiers) {
    const rule = firstMatch(
      world,
      policies.filter((policy) => tierOf(policy) === tier),
      question,
      direction,
    );
    if (rule?.action === 'pass' && tier === 'Admin') passedBy = rule;
    else if (rule) {
      // In the tier Baseline there is nothing to pass to, so a rule with Pass allows.
      const allowed = rule.action !== 'deny';
      return { allowed, reason: 'rule', rule, passedBy, isolatedBy };
    } else if (tier === 'NetworkPolicy' && isolatedBy.length > 0) {
      const reason = 'default-deny';
      return { allowed: false, reason, rule, passedBy, isolatedBy };
    }
  }
  return { allowed: true, reason: 'no-rule', rule: undefined, passedBy, isolatedBy };
}

function firstMatch(
  world: PolicyWorld,
  policies: readonly PolicyRecord[],
  question: Question,
  direction: Direction,
): RuleRef | undefined {
  for (const policy of policies) {
    for (const [number, rule] of (rulesOf(policy, direction) ?? []).entries()) {
      if (!matches(world, policy, rule, direction, question)) continue;
      return refOf(policy, direction, rule, number);
    }
  }
  return undefined;
}

/** Returns the rules in one direction, or undefined if the policy says nothing about it. */
function rulesOf(policy: PolicyRecord, direction: Direction): readonly RuleRecord[] | undefined {
  const rules = policy[direction];
  return policy.kind === 'clusterNetworkPolicy' && rules?.length === 0 ? undefined : rules;
}

function refOf(
  policy: PolicyRecord,
  direction: Direction,
  { name, action }: RuleRecord,
  number: number,
): RuleRef {
  return { policy: policyKey(policy), tier: tierOf(policy), direction, number, name, action };
}

function matches(
  world: PolicyWorld,
  policy: PolicyRecord,
  rule: RuleRecord,
  direction: Direction,
  question: Question,
): boolean {
  const isMatch = (part: RuleRecord) =>
    matchesPort(world, part, question) && matchesPeer(world, policy, part, direction, question);
  if (direction === 'ingress' || !rule.peers || !rule.ports) return isMatch(rule);
  // Only pods that a selector matches have named ports. Ranges, Nodes and domains have none.
  const numbers = rule.ports.filter(({ type }) => type === 'numbers');
  const pods = rule.peers.filter(({ type }) => type === 'pods');
  return isMatch({ ...rule, ports: numbers }) || isMatch({ ...rule, peers: pods });
}

function matchesPeer(
  world: PolicyWorld,
  policy: PolicyRecord,
  { peers }: RuleRecord,
  direction: Direction,
  question: Question,
): boolean {
  if (peers === undefined) return true;
  const address = direction === 'egress' ? question.to : question.from;
  const names = direction === 'egress' ? (question.names ?? []) : [];
  return peers.some((peer) => isPeer(world, policy, peer, address, names));
}

function isPeer(
  world: PolicyWorld,
  policy: PolicyRecord,
  peer: PeerRecord,
  address: string,
  names: readonly string[],
): boolean {
  switch (peer.type) {
    case 'range':
      return isInBlock(address, peer);
    case 'nodes': {
      // Of several Nodes the first by name has the address, and a pod comes before Nodes.
      const [node] = world.nodesAt(address);
      if (!node || world.podAt(address)) return false;
      return matchesLabels(peer.nodes, node.labels);
    }
    case 'domain':
      return names.some((each) => coversName(peer.name, each));
    case 'pods': {
      const pod = world.podAt(address);
      return pod !== undefined && world.isPeer(policy, peer, pod);
    }
  }
}

/** A port with a name is resolved at the destination pod, which is the subject for ingress. */
function matchesPort(world: PolicyWorld, { ports }: RuleRecord, question: Question): boolean {
  if (ports === undefined) return true;
  const { protocol, port } = question;
  const named = world.podAt(question.to)?.namedPorts ?? [];
  const isPort = (each: PortRecord): boolean => {
    if (each.type === 'numbers') {
      return each.protocol === protocol && each.first <= port && port <= each.last;
    }
    if (each.protocol !== undefined && each.protocol !== protocol) return false;
    return named.some(
      (own) => own.name === each.name && own.protocol === protocol && own.port === port,
    );
  };
  return ports.some(isPort);
}
