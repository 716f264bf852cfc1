import { canonicalRange } from './addresses.ts';
import { readDenyResponse, readPolicyMode } from './annotations.ts';
import { compactList, ownText, sharedText } from './memory.ts';
import { PartProblems } from './part-problems.ts';
import type {
  ClusterNetworkPolicyRecord,
  PeerRecord,
  PortRecord,
  RuleRecord,
  Selector,
} from './policy-records.ts';
import type { ClusterNetworkPolicyObject } from './policy-schema.ts';
import { readNumbers } from './read-network-policy.ts';
import { readSelector } from './read-selector.ts';

type Spec = ClusterNetworkPolicyObject['spec'];
type Rule = NonNullable<Spec['ingress']>[number] & NonNullable<Spec['egress']>[number];
type Peer = NonNullable<Rule['to']>[number];
type Port = NonNullable<Rule['protocols']>[number];
type Tier = Spec['tier'];

const closedRule =
  'a rule with Accept matches nothing, and one with Deny or Pass denies everything (does the cluster have a newer API?)';

/**
 * Returns the record of a ClusterNetworkPolicy. Parts that can't be used are in `problems`. As the API asks for,
 * a rule with such a part matches nothing if it accepts, and denies everything otherwise.
 */
export function readClusterNetworkPolicy({
  metadata,
  spec,
}: ClusterNetworkPolicyObject): ClusterNetworkPolicyRecord {
  const problems = new PartProblems();
  const subject = readSubject(spec.subject, problems);
  const read = (direction: 'ingress' | 'egress'): readonly RuleRecord[] => {
    const rules = (spec[direction] ?? []) as readonly Rule[];
    problems.limit(`spec.${direction}`, rules.length, mostItems, 'rules');
    return compactList(
      rules.map((rule, i) => {
        const record = readRule(spec.tier, direction, rule, i, problems);
        if (subject !== undefined || record.action === 'deny') return record;
        return { ...record, peers: [] };
      }),
    );
  };
  return {
    kind: 'clusterNetworkPolicy',
    namespace: '',
    name: ownText(metadata.name),
    tier: sharedText(spec.tier),
    priority: spec.priority,
    subject: subject ?? { namespaces: [], pods: [] },
    ingress: read('ingress'),
    egress: read('egress'),
    isAudited: readPolicyMode(metadata.annotations, problems),
    ...readDenyResponse(metadata.annotations, problems),
    problems: problems.sentences,
  };
}

function readSubject(
  subject: Spec['subject'],
  problems: PartProblems,
): ClusterNetworkPolicyRecord['subject'] | undefined {
  const consequence = 'rules with Deny apply to all pods, and other rules match nothing';
  const peer = subject ?? {};
  if (Object.values(peer).filter(isGiven).length !== 1) {
    problems.add('spec.subject', subject, `must have either namespaces or pods; ${consequence}`);
    return undefined;
  }
  return readPods(peer, 'spec.subject', problems, consequence);
}

/** The limits of the API (policy.networking.k8s.io/v1alpha2): rules, peers, and other items of each list. */
const mostItems = 25;
const mostNameCharacters = 100;

const isGiven = (value: unknown) => value !== null && value !== undefined;

/** Returns what the fields `namespaces` or `pods` select, or undefined if a selector can't be used. */
function readPods(
  { namespaces, pods }: Pick<Peer, 'namespaces' | 'pods'>,
  at: string,
  problems: PartProblems,
  consequence: string,
): { readonly namespaces: Selector; readonly pods: Selector } | undefined {
  const read = (field: string, selector: Peer['namespaces']) =>
    readSelector(`${at}.${field}`, selector, problems, consequence);
  if (!pods) {
    const selector = read('namespaces', namespaces);
    return selector && { namespaces: selector, pods: [] };
  }
  const [outer, inner] = [
    read('pods.namespaceSelector', pods.namespaceSelector),
    read('pods.podSelector', pods.podSelector),
  ];
  return outer && inner && { namespaces: outer, pods: inner };
}

function readRule(
  tier: Tier,
  direction: 'ingress' | 'egress',
  rule: Rule,
  i: number,
  problems: PartProblems,
): RuleRecord {
  const at = `spec.${direction}[${i}]`;
  const name = sharedText(rule.name);
  problems.limit(`${at}.name`, name.length, mostNameCharacters, 'characters');
  const action = ({ Accept: 'allow', Deny: 'deny', Pass: 'pass' } as const)[rule.action];
  if (action === undefined) {
    problems.add(`${at}.action`, rule.action, `must be Accept, Deny or Pass; ${closedRule}`);
  }
  const [list, field] = direction === 'ingress' ? [rule.from, 'from'] : [rule.to, 'to'];
  const peers = readPeers({ tier, action }, list as Rule['to'], `${at}.${field}`, problems);
  const ports = readPorts(rule.protocols, `${at}.protocols`, problems);
  const hasNames = ports !== 'unusable' && ports?.some(({ type }) => type === 'name');
  if (hasNames && peers?.some(({ type }) => type !== 'pods')) {
    const value = rule.protocols;
    const remedy = `must not name ports, because only pods have these names; ${closedRule}`;
    problems.add(`${at}.protocols`, value, remedy);
  } else if (action !== undefined && peers !== undefined && ports !== 'unusable') {
    return { name, action, peers, ports };
  }
  return action === 'allow'
    ? { name, action, peers: [], ports: undefined }
    : { name, action: 'deny', peers: undefined, ports: undefined };
}

/** Returns the peers, or undefined if one can't be used. */
function readPeers(
  rule: { readonly tier: Tier; readonly action: RuleRecord['action'] | undefined },
  list: Rule['to'],
  at: string,
  problems: PartProblems,
): readonly PeerRecord[] | undefined {
  if (!list || list.length === 0) {
    problems.add(at, list, `must have a peer; ${closedRule}`);
    return undefined;
  }
  problems.limit(at, list.length, mostItems, 'peers');
  const read = list.map((peer, i) => readPeer(rule, peer, `${at}[${i}]`, problems));
  if (read.includes(undefined)) return undefined;
  return compactList(read.flatMap((peers) => peers!));
}

function readPeer(
  { tier, action }: { readonly tier: Tier; readonly action: RuleRecord['action'] | undefined },
  peer: Peer,
  at: string,
  problems: PartProblems,
): readonly PeerRecord[] | undefined {
  if (Object.values(peer).filter(isGiven).length !== 1) {
    problems.add(at, peer, `must have exactly one field that Heddle knows; ${closedRule}`);
    return undefined;
  }
  const { nodes, networks, domainNames } = peer;
  if (nodes) {
    const selector = readSelector(`${at}.nodes`, nodes, problems, closedRule);
    return selector && [{ type: 'nodes', nodes: selector }];
  }
  if (networks) return readTexts(networks, `${at}.networks`, problems, readNetwork);
  if (domainNames) {
    if (tier !== 'Admin' || action !== 'allow') {
      const rule = `must be in a rule with Accept of the tier Admin; ${closedRule}`;
      problems.add(`${at}.domainNames`, domainNames, rule);
      return undefined;
    }
    return readTexts(domainNames, `${at}.domainNames`, problems, readDomain);
  }
  const pods = readPods(peer, at, problems, closedRule);
  return pods && [{ type: 'pods', ...pods }];
}

function readTexts(
  texts: readonly string[],
  at: string,
  problems: PartProblems,
  read: (text: string) => PeerRecord | string,
): readonly PeerRecord[] | undefined {
  if (texts.length === 0) {
    problems.add(at, texts, `must have an item; ${closedRule}`);
    return undefined;
  }
  problems.limit(at, texts.length, mostItems, 'items');
  const peers: PeerRecord[] = [];
  for (const [i, text] of texts.entries()) {
    const peer = read(text.trim());
    if (typeof peer !== 'string') peers.push(peer);
    else problems.add(`${at}[${i}]`, text, `${peer}; ${closedRule}`);
  }
  return peers.length === texts.length ? peers : undefined;
}

function readNetwork(text: string): PeerRecord | string {
  const range = canonicalRange(text);
  if (range === undefined) return 'must be a range such as 192.0.2.0/24';
  return { type: 'range', range, except: compactList<string>([]) };
}

function readDomain(text: string): PeerRecord | string {
  const name = text.toLowerCase().replace(/\.$/, '');
  const label = '[a-z0-9]([-a-z0-9_]*[a-z0-9])?';
  if (name.length > 253 || !new RegExp(`^(\\*\\.)?(${label}\\.)+${label}$`).test(name)) {
    return 'must be a name such as example.com or *.example.com';
  }
  return { type: 'domain', name: ownText(name) };
}

function readPorts(
  list: Rule['protocols'],
  at: string,
  problems: PartProblems,
): readonly PortRecord[] | undefined | 'unusable' {
  if (!list) return undefined;
  if (list.length === 0) {
    problems.add(at, list, `must have an item; ${closedRule}`);
    return 'unusable';
  }
  problems.limit(at, list.length, mostItems, 'items');
  const ports = list.map((port, i) => readPort(port, `${at}[${i}]`, problems));
  return ports.includes(undefined) ? 'unusable' : compactList(ports.map((port) => port!));
}

function readPort(
  { tcp, udp, sctp, destinationNamedPort }: Port,
  at: string,
  problems: PartProblems,
): PortRecord | undefined {
  const given = [tcp, udp, sctp].filter(isGiven).length + (destinationNamedPort === '' ? 0 : 1);
  const destination = (tcp ?? udp ?? sctp)?.destinationPort;
  if (given === 1 && destinationNamedPort !== '') {
    return { type: 'name', protocol: undefined, name: sharedText(destinationNamedPort) };
  }
  const { number, range } = destination ?? {};
  if (given !== 1 || isGiven(number) === isGiven(range)) {
    const value = { tcp, udp, sctp };
    problems.add(at, value, `must have one port that Heddle knows; ${closedRule}`);
    return undefined;
  }
  const protocol = tcp ? 'TCP' : udp ? 'UDP' : 'SCTP';
  const name = `${at}.${protocol.toLowerCase()}.destinationPort`;
  const [first, last] = range ? [range.start ?? 0, range.end ?? 0] : [number, undefined];
  const fields = range ? ([`${name}.range.start`, `${name}.range.end`] as const) : undefined;
  const [firstField, lastField] = fields ?? [`${name}.number`, ''];
  return readNumbers(firstField, lastField, { protocol, first, last }, problems);
}
