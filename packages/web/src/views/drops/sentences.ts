import type { DropKind, Explanation, PolicyRef, RuleRef } from '../../contract.ts';
import { formatCount, formatParty, formatPort, formatSpan } from '../../parts/format.ts';

/** A piece of a sentence; names and rules are strong. */
export interface Piece {
  readonly text: string;
  readonly isStrong: boolean;
}

type Facts = Explanation['facts'];
type Told = DropKind & Partial<Pick<Explanation, 'facts' | 'tests' | 'others'>>;

/** A template of one reason: its heading, the group that it belongs to, and the sentence. */
interface Template {
  readonly group: DropGroup;
  readonly heading: string;
  readonly sentence: (kind: Told, facts: Facts) => Piece[];
}

export const dropGroups = ['Policy', 'Services', 'Room', 'Packets', 'Unknown'] as const;
export type DropGroup = (typeof dropGroups)[number];

/** Makes pieces of a template string: the values are strong, but those in `plain` are not. */
function say(texts: TemplateStringsArray, ...values: readonly (string | Plain)[]): Piece[] {
  const pieces = texts.flatMap((text, index): Piece[] => {
    const value = values[index];
    const isStrong = typeof value === 'string';
    const told = isStrong ? value : (value?.plain ?? '');
    return [
      { text, isStrong: false },
      { text: told, isStrong },
    ];
  });
  return pieces.filter(({ text }) => text !== '');
}

interface Plain {
  readonly plain: string;
}
const plain = (text: string): Plain => ({ plain: text });

/** Returns a fact as text; a list is joined. */
function fact(facts: Facts, name: string, missing: string): string {
  const value = facts[name];
  if (value === undefined || value === '') return missing;
  if (typeof value === 'number') return formatCount(value);
  return typeof value === 'string' ? value : value.length > 0 ? value.join(', ') : missing;
}

function number(facts: Facts, name: string): number | undefined {
  const value = facts[name];
  return typeof value === 'number' ? value : undefined;
}

/** Returns the name of a policy: NAMESPACE/NAME, or the name of one of the cluster. */
export function policyName({ namespace, name }: PolicyRef): string {
  return formatParty({ namespace, name });
}

/** Returns the words for a rule: `ingress rule 2`. */
export function ruleWords({ rule, direction }: RuleRef): string {
  return rule === undefined ? `no ${direction} rule` : `${direction} rule ${rule}`;
}

const asked = (kind: Told) => plain(formatPort(kind.protocol, kind.port));

function denied(kind: Told, direction: 'ingress' | 'egress'): Piece[] {
  const names = [...new Set(kind.rules.map(({ policy }) => policyName(policy)))];
  const policies = names.length > 0 ? names.join(', ') : 'the policies that select it';
  const [client, server] = [formatParty(kind.from), formatParty(kind.to)];
  const opening =
    direction === 'ingress'
      ? say`${server} accepts only what an ingress rule of ${policies} names. ${client} asks for ${asked(kind)}; `
      : say`${client} may send only what an egress rule of ${policies} names. It asks ${server} for ${asked(kind)}; `;
  const dns =
    direction === 'egress' && kind.port === 53
      ? say` Without port 53 to ${server} no name can be looked up.`
      : [];
  return [...opening, ...nearest(kind, direction), ...dns];
}

/** Returns how near the nearest rule comes. */
function nearest(kind: Told, direction: 'ingress' | 'egress'): Piece[] {
  const rule = kind.rules.find(({ relation }) => relation === 'nearest');
  const failing = (kind.tests ?? []).filter(({ fits }) => !fits);
  const others = kind.others ? plain(` (and ${kind.others} others)`) : plain('');
  const test = failing[0];
  const verb = direction === 'ingress' ? 'lets it in' : 'lets it out';
  if (failing.some(({ what }) => what === 'direction'))
    return say`no rule of it is for this direction.`;
  if (!rule || rule.rule === undefined) return say`no rule of it ${plain(verb)}.`;
  if (!test) return say`the nearest rule is ${ruleWords(rule)}${others}, which does not fit.`;
  if (failing.length === 1 && test.what === 'port') {
    return say`the nearest rule, ${ruleWords(rule)}${others}, ${plain(verb)}, but on ${plain(test.rule)} only.`;
  }
  if (failing.length === 1 && test.what === 'peer') {
    return say`the nearest rule, ${ruleWords(rule)}${others}, has this port, but names ${plain(test.rule)}; ${plain(test.here)}.`;
  }
  const parts = failing.map(({ what }) => what).join(' and ');
  return say`of the nearest rule, ${ruleWords(rule)}${others}, ${plain(parts)} do not fit.`;
}

function denyRule(kind: Told, facts: Facts): Piece[] {
  const rule = kind.rules.find(({ relation }) => relation === 'denied');
  const which = rule ? ruleWords(rule) : 'A rule';
  const policy = rule ? policyName(rule.policy) : 'a policy';
  const title = facts.ruleName ? plain(` “${facts.ruleName}”`) : plain('');
  const tier = facts.tier
    ? say` It is of the ${plain(String(facts.tier))} tier${plain(facts.tier === 'Admin' ? ', so no NetworkPolicy can overrule it' : '')}.`
    : [];
  const [client, server] = [formatParty(kind.from), formatParty(kind.to)];
  return [
    ...say`${which}${title} of ${policy} denies ${client} to ${server}, ${asked(kind)}.`,
    ...tier,
  ];
}

function noEndpoint(kind: Told, facts: Facts): Piece[] {
  const selector = fact(facts, 'selector', '');
  const pods = number(facts, 'pods') ?? 0;
  if (selector === '') {
    return say`Service ${serviceOf(kind)} has no endpoint that is ready for ${asked(kind)}.`;
  }
  const opening = say`Service ${serviceOf(kind)} selects ${plain(selector)}. `;
  return pods === 0
    ? [...opening, ...say`No pod has that.`]
    : [...opening, ...say`${plain(formatCount(pods))} pods have that, and none of them is ready.`];
}

const serviceOf = (kind: Told) => kind.service ?? formatParty(kind.to);
const nodesOf = (kind: Told) => kind.nodes.join(', ') || 'the node';

function full(kind: Told, facts: Facts): Piece[] {
  const used = number(facts, 'used');
  const size = number(facts, 'size');
  const state =
    used !== undefined && size !== undefined
      ? plain(` (${formatCount(used)} of ${formatCount(size)} entries)`)
      : plain('');
  return say`The flow table of ${nodesOf(kind)} is full${state}, so no new connection has an entry. The setting ${fact(facts, 'setting', 'sizes.flows')} makes it larger.`;
}

const templates: Readonly<Record<number, Template>> = {
  132: {
    group: 'Packets',
    heading: 'The source address is not the pod’s',
    sentence: (kind) =>
      say`A packet of ${formatParty(kind.from)} has a source address that its pod does not have. Look for a tunnel, a bridge or a second network in the pod.`,
  },
  134: {
    group: 'Packets',
    heading: 'The packet is malformed',
    sentence: (kind) =>
      say`A header of the packet from ${formatParty(kind.from)} is cut off or has values that cannot be right. Look at the network interface or the tunnel before ${nodesOf(kind)}.`,
  },
  136: {
    group: 'Packets',
    heading: 'The packet is too large',
    sentence: (kind, facts) =>
      say`A packet from ${formatParty(kind.from)} is larger than the MTU of ${plain(fact(facts, 'mtu', 'the next hop'))} and must not be fragmented. The sender gets an ICMP error, unless a firewall drops it.`,
  },
  138: {
    group: 'Room',
    heading: 'Too many connections without an answer',
    sentence: (kind) =>
      say`${formatParty(kind.from)} opened more connections to ${formatParty(kind.to)} than may stay without an answer on ${nodesOf(kind)}. Look for a scan, a SYN flood, or a server that does not answer.`,
  },
  151: {
    group: 'Services',
    heading: 'The service has no such port',
    sentence: (kind, facts) =>
      say`Service ${serviceOf(kind)} has ${plain(fact(facts, 'ports', 'other ports'))}; ${formatParty(kind.from)} asks for ${asked(kind)}.`,
  },
  152: {
    group: 'Services',
    heading: 'No endpoint on this node',
    sentence: (kind, facts) =>
      say`${plain(fact(facts, 'policy', 'externalTrafficPolicy'))} of ${serviceOf(kind)} is Local. Its endpoints are on ${plain(fact(facts, 'endpointNodes', 'other nodes'))}; the packet came to ${nodesOf(kind)}.`,
  },
  155: { group: 'Room', heading: 'No room for new connections', sentence: full },
  157: {
    group: 'Packets',
    heading: 'The fragment has no first part',
    sentence: (kind) =>
      say`A fragment from ${formatParty(kind.from)} came without the first fragment of its packet, which has the ports. Look for a path with a smaller MTU, or for fragments that go by way of another node.`,
  },
  158: { group: 'Services', heading: 'The service has no ready endpoint', sentence: noEndpoint },
  163: {
    group: 'Packets',
    heading: 'TCP segment of no known connection',
    sentence: (_, facts) => {
      const timeout = number(facts, 'timeout');
      const span = timeout === undefined ? '' : ` of ${formatSpan(timeout * 1000)}`;
      return say`It is neither the first segment of a connection nor one of a connection that is known here: after a restart, a time-out${plain(span)}, or on another way back.`;
    },
  },
  167: {
    group: 'Room',
    heading: 'No port for a new connection',
    sentence: (kind, facts) =>
      say`All SNAT ports of ${plain(fact(facts, 'address', 'the node’s address'))} towards ${formatParty(kind.to)}, ${asked(kind)}, are in use on ${nodesOf(kind)}. The setting ${fact(facts, 'setting', 'nat.ports')} gives it more.`,
  },
  169: {
    group: 'Packets',
    heading: 'No route leads there',
    sentence: (kind) =>
      say`${nodesOf(kind)} has no route or no neighbour for ${formatParty(kind.to)}. Look at ip route get on the node.`,
  },
  177: {
    group: 'Services',
    heading: 'loadBalancerSourceRanges does not have the client',
    sentence: (kind, facts) =>
      say`Service ${serviceOf(kind)} lets in ${plain(fact(facts, 'ranges', 'other ranges'))}; the client is ${fact(facts, 'client', formatParty(kind.from))}.`,
  },
  181: { group: 'Policy', heading: 'A rule says deny', sentence: denyRule },
  196: {
    group: 'Packets',
    heading: 'The TTL of the packet ran out',
    sentence: (kind) =>
      say`A packet from ${formatParty(kind.from)} to ${formatParty(kind.to)} passed more routers than its TTL allows. Look for a routing loop; traceroute causes it on purpose.`,
  },
  198: {
    group: 'Room',
    heading: 'More packets than the limit',
    sentence: (kind, facts) =>
      say`${nodesOf(kind)} answers at most ${plain(fact(facts, 'limit', 'so many'))} of such packets a second.`,
  },
};

const ingress: Template = {
  group: 'Policy',
  heading: 'No ingress rule lets this in',
  sentence: (kind) => denied(kind, 'ingress'),
};
const egress: Template = {
  group: 'Policy',
  heading: 'No egress rule lets this out',
  sentence: (kind) => denied(kind, 'egress'),
};
const unknown: Template = {
  group: 'Unknown',
  heading: 'Dropped for a reason that this page does not know',
  sentence: ({ name, reason }) => say`The relay calls it ${name} (${plain(String(reason))}).`,
};

function templateOf({ reason, direction }: Pick<DropKind, 'reason' | 'direction'>): Template {
  if (reason === 133) return direction === 'egress' ? egress : ingress;
  return Object.hasOwn(templates, reason) ? templates[reason]! : unknown;
}

/** The reasons that have a template of their own. */
export const knownReasons: readonly number[] = [133, ...Object.keys(templates).map(Number)];

/** Returns the heading of a kind of drops. */
export function headingOf(kind: Pick<DropKind, 'reason' | 'direction'>): string {
  return templateOf(kind).heading;
}

/** Returns the group of a kind of drops. */
export function groupOf(kind: Pick<DropKind, 'reason' | 'direction'>): DropGroup {
  return templateOf(kind).group;
}

/** Returns the sentence that says why, in pieces. */
export function sentenceOf(kind: Told): Piece[] {
  return templateOf(kind).sentence(kind, kind.facts ?? {});
}
