import type {
  PeerRecord,
  PodRecord,
  PortRecord,
  Protocol,
  Requirement,
  RuleRecord,
  Selector,
} from '@heddle/objects';
import { type PolicyRecord, type PolicyWorld, policyKey, type RuleRef } from '@heddle/policy';

// Texts about policies, as people read them in tables and sentences.

/** The protocol of a question; `other` has no ports. */
export type AnyProtocol = Protocol | 'other';

/** Returns the name of a pod: `namespace/name`. */
export function podName({ namespace, name }: Pick<PodRecord, 'namespace' | 'name'>): string {
  return `${namespace}/${name}`;
}

/** Returns a number with a noun: `1 pod`, `3 pods`, `2 policies`. */
export function counted(number: number, noun: string): string {
  if (number === 1) return `1 ${noun}`;
  return `${number} ${noun.endsWith('y') ? `${noun.slice(0, -1)}ies` : `${noun}s`}`;
}

/** Returns texts as `a, b and c`; after `limit` of them, the number of those left out. */
export function listed(texts: readonly string[], limit = 5): string {
  const shown = texts.length > limit ? texts.slice(0, limit) : texts;
  const all = shown.length < texts.length ? [...shown, `${texts.length - limit} more`] : shown;
  return all.length < 2 ? all.join('') : `${all.slice(0, -1).join(', ')} and ${all.at(-1)}`;
}

/** Returns a selector as text: `app=web, tier in (a, b)`; an empty text if it matches everything. */
export function selectorText(selector: Selector): string {
  return selector.map(requirementText).join(', ');
}

function requirementText({ key, operator, values }: Requirement): string {
  switch (operator) {
    case 'In':
      return values.length === 1 ? `${key}=${values[0]}` : `${key} in (${values.join(', ')})`;
    case 'NotIn':
      return values.length === 1 ? `${key}!=${values[0]}` : `${key} not in (${values.join(', ')})`;
    case 'Exists':
      return `label ${key}`;
    case 'DoesNotExist':
      return `no label ${key}`;
  }
}

/** Returns what pods a selector and a selector of namespaces match: `pods with app=web of namespace shop`. */
export function podsText(
  pods: Selector,
  namespaces: Selector | undefined,
  ownNamespace: string,
): string {
  const which = pods.length === 0 ? 'all pods' : `pods with ${selectorText(pods)}`;
  if (namespaces === undefined) return `${which} of namespace ${ownNamespace}`;
  const name = onlyNamespace(namespaces);
  if (name !== undefined) return `${which} of namespace ${name}`;
  if (namespaces.length === 0) return `${which} of all namespaces`;
  return `${which} of namespaces with ${selectorText(namespaces)}`;
}

/** The label that the API server gives to each Namespace. */
export const namespaceNameLabel = 'kubernetes.io/metadata.name';

function onlyNamespace(namespaces: Selector): string | undefined {
  const [only, ...others] = namespaces;
  if (others.length > 0 || only?.key !== namespaceNameLabel || only.operator !== 'In') {
    return undefined;
  }
  return only.values.length === 1 ? only.values[0] : undefined;
}

/** Returns a peer of a rule as text. */
export function peerText(peer: PeerRecord, policy: PolicyRecord): string {
  switch (peer.type) {
    case 'pods':
      return podsText(peer.pods, peer.namespaces, policy.namespace);
    case 'range':
      return peer.except.length === 0
        ? peer.range
        : `${peer.range} without ${listed(peer.except, 3)}`;
    case 'nodes':
      return peer.nodes.length === 0 ? 'all nodes' : `nodes with ${selectorText(peer.nodes)}`;
    case 'domain':
      return peer.name;
  }
}

/** Returns the peers of a rule as text. */
export function peersText({ peers }: RuleRecord, policy: PolicyRecord): string {
  if (peers === undefined) return 'everything';
  if (peers.length === 0) return 'nothing';
  return listed(
    peers.map((peer) => peerText(peer, policy)),
    3,
  );
}

/** Returns a port of a rule as text: `TCP/80`, `UDP/1000-2000`, `TCP`, `TCP/http`. */
export function portText(port: PortRecord): string {
  if (port.type === 'name') return `${port.protocol ?? 'port'}/${port.name}`;
  return rangeText(port);
}

/** Returns a range of ports as text. */
export function rangeText(range: {
  readonly protocol: string;
  readonly first: number;
  readonly last: number;
}): string {
  const { protocol, first, last } = range;
  if (first <= 1 && last === 65535) return protocol;
  return first === last ? `${protocol}/${first}` : `${protocol}/${first}-${last}`;
}

/** Returns the ports of a rule as text. */
export function portsText({ ports }: RuleRecord): string {
  if (ports === undefined) return 'all ports';
  if (ports.length === 0) return 'no port';
  return listed(ports.map(portText));
}

/** Returns a port in a question as text: `TCP/80`, or `ICMP` for a protocol without ports. */
export function questionPortText(protocol: AnyProtocol, port: number): string {
  return protocol === 'other' ? 'ICMP' : `${protocol}/${port}`;
}

const verbs = { allow: 'allows', deny: 'denies', pass: 'passes' } as const;

/** Returns what a rule does: `allows TCP/80 from pods with app=web of namespace shop`. */
export function ruleText(
  rule: RuleRecord,
  policy: PolicyRecord,
  direction: 'ingress' | 'egress',
): string {
  const way = direction === 'ingress' ? 'from' : 'to';
  return `${verbs[rule.action]} ${portsText(rule)} ${way} ${peersText(rule, policy)}`;
}

/** Returns the name of a rule: `ingress[0] of NetworkPolicy shop/web`, with its own name if it has one. */
export function ruleName(ref: Pick<RuleRef, 'policy' | 'direction' | 'number' | 'name'>): string {
  const name = ref.name === '' ? '' : ` "${ref.name}"`;
  return `${ref.direction}[${ref.number}]${name} of ${ref.policy}`;
}

/** Returns a rule and its policy, or undefined if the world does not have them. */
export function ruleOf(
  world: PolicyWorld,
  ref: Pick<RuleRef, 'policy' | 'direction' | 'number'>,
): { readonly policy: PolicyRecord; readonly rule: RuleRecord } | undefined {
  const policy = world.policies.get(ref.policy);
  const rule = policy?.[ref.direction]?.[ref.number];
  return policy && rule && { policy, rule };
}

/** Returns the sentence about a policy's mode and tier: `tier Admin, priority 10, audit mode`. */
export function placeText(policy: PolicyRecord, isAudited: boolean): string {
  const place =
    policy.kind === 'networkPolicy' ? [] : [`tier ${policy.tier}`, `priority ${policy.priority}`];
  return [...place, ...(isAudited ? ['audit mode: nothing is dropped'] : [])].join(', ');
}

export { policyKey };
