import {
  type Direction,
  type DirectionJudgement,
  judge,
  type NearMiss,
  nearMisses,
  type PolicyWorld,
  type Question,
  type RuleRef,
  type Verdict,
} from '@heddle/policy';
import type { ClusterObjects } from './cluster.ts';
import { type End, endAt, endsOf, type Target, ToolError, targetsOf } from './ends.ts';
import {
  type AnyProtocol,
  listed,
  peersText,
  portsText,
  questionPortText,
  ruleName,
  ruleOf,
} from './texts.ts';

/** The question of `heddle policy explain`. */
export interface ExplainRequest {
  readonly from: string;
  readonly to: string;
  readonly protocol: AnyProtocol;
  /** Host order; 0 for `other`. */
  readonly port: number;
  /** Names that the client has looked up to find the destination address. */
  readonly names?: readonly string[];
}

/** The rule that decided, or one that nearly did, with its content as text. */
export interface ShownRule extends RuleRef {
  /** `TCP/80 from pods with app=web of namespace shop`. */
  readonly matches: string;
}

/** The verdict in one direction, with its reason. */
export interface ShownDirection {
  readonly direction: Direction;
  /** The pod that the policies select, `namespace/name`. */
  readonly pod: string | undefined;
  readonly allowed: boolean;
  readonly reason: DirectionJudgement['reason'];
  readonly rule: ShownRule | undefined;
  readonly passedBy: ShownRule | undefined;
  /** The NetworkPolicies that isolate the pod. */
  readonly isolatedBy: readonly string[];
  /** Rules that would allow the connection but for its port or its peer; only where it is denied by default. */
  readonly nearest: readonly { readonly rule: ShownRule; readonly differs: 'port' | 'peer' }[];
  /** True or false if policies in audit mode exist, and enforcing them would change the verdict to this. */
  readonly ifAuditedWereEnforced: boolean | undefined;
  /** The same in sentences. */
  readonly sentences: readonly string[];
}

/** The verdict on one connection. */
export interface Explanation {
  readonly from: Pick<End, 'label' | 'address'>;
  readonly to: Pick<Target, 'label' | 'address' | 'port' | 'service'>;
  readonly protocol: AnyProtocol;
  readonly allowed: boolean;
  readonly egress: ShownDirection;
  readonly ingress: ShownDirection;
}

/**
 * Returns the verdicts on the connections that a request is about: one for each backend and each family of addresses
 * that both ends have. Throws ToolError.
 */
export function explain(cluster: ClusterObjects, request: ExplainRequest): readonly Explanation[] {
  const { protocol, port, names } = request;
  const sources = endsOf(cluster, request.from);
  const targets = targetsOf(cluster, request.to, protocol, port);
  const isV6 = ({ address }: End) => address.includes(':');
  const pairs = sources.flatMap((from) =>
    targets.filter((to) => isV6(to) === isV6(from)).map((to) => ({ from, to })),
  );
  if (pairs.length === 0) {
    throw new ToolError(
      `explain ${request.from} to ${request.to}: their addresses are of different families (give addresses of one family)`,
    );
  }
  return pairs.map(({ from, to }) => explainOne(cluster.world, from, to, protocol, names));
}

/** Returns the verdict on one connection, with its reasons. */
export function explainOne(
  world: PolicyWorld,
  from: End,
  to: Target,
  protocol: AnyProtocol,
  names: readonly string[] = [],
): Explanation {
  const question: Question = {
    ...{ from: from.address, to: to.address, protocol, port: to.port, names },
  };
  const { allowed, egress, ingress } = judge(world, question);
  const shown = (direction: Direction, judgement: DirectionJudgement) =>
    showDirection(world, question, direction, judgement, direction === 'egress' ? to : from);
  return {
    from: { label: from.label, address: from.address },
    to: { label: to.label, address: to.address, port: to.port, service: to.service },
    protocol,
    allowed,
    egress: shown('egress', egress),
    ingress: shown('ingress', ingress),
  };
}

/** Returns the reason of the verdict on a connection in one direction, in sentences. Ports are in host order. */
export function explainFlow(
  cluster: ClusterObjects,
  flow: {
    readonly source: string;
    readonly destination: string;
    readonly protocol: string;
    readonly port: number;
  },
  direction: Direction,
): readonly string[] {
  const { source, destination, port } = flow;
  const isKnown = ['TCP', 'UDP', 'SCTP'].includes(flow.protocol);
  const protocol = isKnown ? (flow.protocol as AnyProtocol) : 'other';
  const to = { ...endAt(cluster, destination), port: isKnown ? port : 0, service: undefined };
  return explainOne(cluster.world, endAt(cluster, source), to, protocol)[direction].sentences;
}

const shownMisses = 3;

function showDirection(
  world: PolicyWorld,
  question: Question,
  direction: Direction,
  judgement: DirectionJudgement,
  peer: End,
): ShownDirection {
  const { pod, allowed, reason, rule, passedBy, isolatedBy, audited } = judgement;
  const misses = reason === 'default-deny' ? nearMisses(world, question, direction) : [];
  const changed = audited && audited.allowed !== allowed ? audited : undefined;
  return {
    ...{ direction, pod, allowed, reason, isolatedBy },
    rule: rule && showRule(world, rule),
    passedBy: passedBy && showRule(world, passedBy),
    nearest: misses
      .slice(0, shownMisses)
      .map((miss) => ({ rule: showRule(world, miss.rule), differs: miss.differs })),
    ifAuditedWereEnforced: changed?.allowed,
    sentences: [
      ...verdictSentences(direction, judgement),
      ...misses.slice(0, shownMisses).map((miss) => missSentence(world, miss, question, peer)),
      ...(reason === 'default-deny' && misses.length === 0
        ? [`no rule of these policies comes near: none has this port or this peer`]
        : []),
      ...(changed ? [auditSentence(changed)] : []),
    ],
  };
}

/** Returns a rule with its content as text. */
export function showRule(world: PolicyWorld, ref: RuleRef): ShownRule {
  const found = ruleOf(world, ref);
  const way = ref.direction === 'ingress' ? 'from' : 'to';
  const matches = found
    ? `${portsText(found.rule)} ${way} ${peersText(found.rule, found.policy)}`
    : '';
  return { ...ref, matches };
}

/** Returns the reason of a verdict as sentences. */
export function verdictSentences(
  direction: Direction,
  { pod, reason, rule, passedBy, isolatedBy }: DirectionJudgement,
): readonly string[] {
  const passed = passedBy ? [`${ruleName(passedBy)} passes it to the next tier`] : [];
  switch (reason) {
    case 'no-pod':
      return [
        direction === 'egress'
          ? 'no pod of the cluster is the client, so no egress rule applies'
          : 'no pod of the cluster is the destination, so no ingress rule applies',
      ];
    case 'itself':
      return ['a pod always reaches itself'];
    case 'own-node':
      return ['a node always reaches its own pods'];
    case 'unknown-namespace':
      return [
        `the Namespace of ${pod} is not known, so ClusterNetworkPolicies that may select it deny everything`,
      ];
    case 'rule':
      return [...passed, `${verb(rule!.action)} by ${ruleName(rule!)}`];
    case 'default-deny':
      return [
        ...passed,
        `${listed(isolatedBy)} ${isolatedBy.length === 1 ? 'isolates' : 'isolate'} ${pod}, and no rule of ${isolatedBy.length === 1 ? 'it' : 'them'} allows this`,
      ];
    case 'no-rule':
      return [
        ...passed,
        `no NetworkPolicy isolates ${pod} for ${direction}, and no rule matches, so it is allowed`,
      ];
  }
}

function verb(action: RuleRef['action']): string {
  return action === 'deny' ? 'denied' : 'allowed';
}

function missSentence(
  world: PolicyWorld,
  { rule, differs }: NearMiss,
  { protocol, port }: Question,
  peer: End,
): string {
  const found = ruleOf(world, rule);
  if (!found) return '';
  return differs === 'port'
    ? `nearest: ${ruleName(rule)} has this peer, but allows ${portsText(found.rule)} and not ${questionPortText(protocol, port)}`
    : `nearest: ${ruleName(rule)} has this port, but allows ${peersText(found.rule, found.policy)} and not ${peer.label}`;
}

function auditSentence({ allowed, reason, rule, isolatedBy }: Verdict): string {
  const by = rule ? ruleName(rule) : listed(isolatedBy);
  const what = allowed ? 'allowed' : reason === 'default-deny' ? 'denied by default' : 'denied';
  return `if the policies in audit mode were enforced, it would be ${what}${by === '' ? '' : ` by ${by}`}`;
}
