import {
  labelValue,
  type PodRecord,
  type PortRecord,
  type RuleRecord,
  type Selector,
} from '@heddle/objects';
import {
  type Direction,
  judgeDirection,
  type NearMiss,
  nearMisses,
  type PolicyRecord,
  type PolicyWorld,
  type Question,
} from '@heddle/policy';
import { policyText } from './policy-yaml.ts';
import {
  listed,
  peersText,
  podName,
  portsText,
  questionPortText,
  ruleOf,
  selectorText,
} from './texts.ts';

/** A property of a rule beside that of a connection. */
export interface RuleTest {
  readonly what: 'direction' | 'subject' | 'peer' | 'protocol' | 'port';
  readonly rule: string;
  readonly here: string;
  readonly fits: boolean;
}

/** The text of the policy of a rule. Lines count from 0. */
export interface RuleSource {
  /** `NetworkPolicy shop/web`. */
  readonly policy: string;
  readonly lines: readonly string[];
  /** The first and the last line of the rule. */
  readonly near: readonly [number, number];
  /** The lines of the rule's peers or ports that do not fit. */
  readonly failing: readonly number[];
}

/** The rule that comes nearest to allowing a connection that is denied by default. */
export interface NearestRule {
  /** Empty if no rule comes near. */
  readonly tests: readonly RuleTest[];
  /** The rules that come as near. */
  readonly others: number;
  /** Absent for a ClusterNetworkPolicy, for a text that is too long, and for a policy with parts that cannot be used. */
  readonly source?: RuleSource;
}

const linesMax = 400;
const lineMax = 400;
const textMax = 400;

/** Returns the rule that comes nearest to allowing a connection; without tests if it is not denied by default. */
export function nearestRule(
  world: PolicyWorld,
  question: Question,
  direction: Direction,
): NearestRule {
  const { reason } = judgeDirection(world, question, direction);
  const misses = reason === 'default-deny' ? nearMisses(world, question, direction) : [];
  const [nearest] = misses;
  const found = nearest && ruleOf(world, nearest.rule);
  const subject = world.podAt(direction === 'egress' ? question.from : question.to);
  if (!nearest || !found || !subject) return { tests: [], others: 0 };
  const { rule, policy } = found;
  const tests = [
    { what: 'direction' as const, rule: direction, here: direction, fits: true },
    subjectTest(policy, subject),
    peerTest(world, found, question, nearest),
    ...portTests(rule, question, nearest),
  ].map((test) => ({ ...test, rule: short(test.rule), here: short(test.here) }));
  const source = sourceOf(policy, nearest);
  return {
    tests,
    others: misses.filter(({ differs }) => differs === nearest.differs).length - 1,
    ...(source ? { source } : {}),
  };
}

function subjectTest(policy: PolicyRecord, subject: PodRecord): RuleTest {
  const { pods } = policy.kind === 'networkPolicy' ? policy : policy.subject;
  const rule = pods.length === 0 ? 'all pods' : selectorText(pods);
  return { what: 'subject', rule, here: podText(subject, pods), fits: true };
}

function peerTest(
  world: PolicyWorld,
  { rule, policy }: { readonly rule: RuleRecord; readonly policy: PolicyRecord },
  { from, to }: Question,
  { rule: { direction }, differs }: NearMiss,
): RuleTest {
  const address = direction === 'egress' ? to : from;
  const pod = world.podAt(address);
  const [node] = world.nodesAt(address);
  const selectors = (rule.peers ?? []).flatMap((peer) => (peer.type === 'pods' ? peer.pods : []));
  const other = node ? `node ${node.name} (${address})` : address;
  const here = pod ? podText(pod, selectors) : other;
  return { what: 'peer', rule: peersText(rule, policy), here, fits: differs !== 'peer' };
}

function portTests(
  { ports }: RuleRecord,
  { protocol, port }: Question,
  { differs }: NearMiss,
): RuleTest[] {
  const isOfProtocol = (each: PortRecord) =>
    each.protocol === undefined || each.protocol === protocol;
  const hasProtocol = ports === undefined || ports.some(isOfProtocol);
  const protocols = [...new Set((ports ?? []).map((each) => each.protocol ?? 'any protocol'))];
  const test: RuleTest = {
    what: 'protocol',
    rule: ports === undefined ? 'all protocols' : listed(protocols),
    here: protocol === 'other' ? 'ICMP' : protocol,
    fits: hasProtocol,
  };
  if (protocol === 'other') return [test];
  const hasNumber = (ports ?? []).some(
    (each) => each.type === 'numbers' && each.first <= port && port <= each.last,
  );
  return [
    test,
    {
      what: 'port',
      rule: ports ? portsText({ ports } as RuleRecord).replaceAll('/', ' ') : 'all ports',
      here: questionPortText(protocol, port).replace('/', ' '),
      fits: hasProtocol ? differs !== 'port' : hasNumber,
    },
  ];
}

/** Returns a pod with those of its labels that a selector asks for. */
function podText(pod: PodRecord, selector: Selector): string {
  const keys = [...new Set(selector.map(({ key }) => key))];
  const labels = keys.flatMap((key) => {
    const value = labelValue(pod.labels, key);
    return value === undefined ? [] : [`${key}=${value}`];
  });
  const missing = keys.filter((key) => labelValue(pod.labels, key) === undefined);
  const parts = [
    ...(labels.length > 0 ? [`has ${labels.join(', ')}`] : []),
    ...(missing.length > 0 ? [`has no label ${listed(missing)}`] : []),
  ];
  return [podName(pod), parts.join(' and ')].filter((part) => part !== '').join(' ');
}

function sourceOf(policy: PolicyRecord, { rule, differs }: NearMiss): RuleSource | undefined {
  if (policy.kind !== 'networkPolicy' || policy.problems.length > 0) return undefined;
  const text = policyText(policy);
  const { lines } = text;
  if (lines.length > linesMax || lines.some(({ length }) => length > lineMax)) return undefined;
  const { direction, number } = rule;
  const path = ['spec', direction, number];
  const record = policy[direction]![number]!;
  const part = differs === 'port' ? 'ports' : direction === 'ingress' ? 'from' : 'to';
  const parts = (differs === 'port' ? record.ports : record.peers) ?? [];
  const failing = [...parts.keys()].flatMap((index) => {
    const [first, last] = text.linesAt([...path, part, index]);
    return Array.from({ length: last - first + 1 }, (_, offset) => first + offset);
  });
  return { policy: rule.policy, lines, near: text.linesAt(path), failing };
}

function short(text: string): string {
  return text.length <= textMax ? text : `${text.slice(0, textMax - 1)}…`;
}
