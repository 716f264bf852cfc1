import { canonicalRange } from './addresses.ts';
import { readDenyResponse, readPolicyMode } from './annotations.ts';
import { compactList, ownText, sharedText } from './memory.ts';
import { PartProblems } from './part-problems.ts';
import type {
  NetworkPolicyRecord,
  PeerRecord,
  PortRecord,
  RuleRecord,
  Selector,
} from './policy-records.ts';
import type { NetworkPolicyObject } from './policy-schema.ts';
import { readSelector } from './read-selector.ts';
import type { Protocol } from './records.ts';

type Spec = NetworkPolicyObject['spec'];
type Rule = NonNullable<Spec['ingress']>[number] & NonNullable<Spec['egress']>[number];
type Peer = NonNullable<Rule['from']>[number];
type Port = NonNullable<Rule['ports']>[number];

const closedPeer = 'the peer matches nothing';
const closedPort = 'it matches no port';

/** Returns the record of a NetworkPolicy. Parts that can't be used match nothing and are in `problems`. */
export function readNetworkPolicy({ metadata, spec }: NetworkPolicyObject): NetworkPolicyRecord {
  const problems = new PartProblems();
  const pods = readSelector(
    'spec.podSelector',
    spec.podSelector,
    problems,
    'all pods of the namespace are isolated and no rule applies',
  );
  const types = readTypes(spec, problems);
  const read = (direction: 'ingress' | 'egress'): readonly RuleRecord[] | undefined => {
    if (!types.has(direction)) return undefined;
    if (pods === undefined) return [];
    const rules: readonly Partial<Rule>[] = spec[direction] ?? [];
    return compactList(rules.map((rule, i) => readRule(direction, rule, i, problems)));
  };
  const ingress = read('ingress');
  const egress = read('egress');
  return {
    kind: 'networkPolicy',
    namespace: sharedText(metadata.namespace ?? 'default'),
    name: ownText(metadata.name),
    pods: pods ?? [],
    ingress,
    egress,
    isAudited: readPolicyMode(metadata.annotations, problems),
    ...readDenyResponse(metadata.annotations, problems),
    problems: problems.sentences,
  };
}

function readTypes({ policyTypes, egress }: Spec, problems: PartProblems): ReadonlySet<string> {
  const types = new Set<string>();
  for (const [i, type] of (policyTypes ?? []).entries()) {
    if (type === 'Ingress' || type === 'Egress') types.add(type.toLowerCase());
    else {
      const rule = 'must be Ingress or Egress; pods are isolated in both directions';
      problems.add(`spec.policyTypes[${i}]`, type, rule);
      types.add('ingress').add('egress');
    }
  }
  if (types.size > 0) return types;
  types.add('ingress');
  if (egress && egress.length > 0) types.add('egress');
  return types;
}

function readRule(
  direction: 'ingress' | 'egress',
  { from, to, ports }: Partial<Rule>,
  i: number,
  problems: PartProblems,
): RuleRecord {
  const at = `spec.${direction}[${i}]`;
  const [peers, list] = direction === 'ingress' ? [from, 'from'] : [to, 'to'];
  const each = <In, Out>(
    items: readonly In[] | null | undefined,
    field: string,
    read: (item: In, field: string, problems: PartProblems) => Out | undefined,
  ): readonly Out[] | undefined => {
    if (!items || items.length === 0) return undefined;
    const all = items.map((item, k) => read(item, `${at}.${field}[${k}]`, problems));
    return compactList(all.filter((item) => item !== undefined));
  };
  return {
    name: '',
    action: 'allow',
    peers: each(peers, list as string, readPeer),
    ports: each(ports, 'ports', readPort),
  };
}

function readPeer(
  { podSelector, namespaceSelector, ipBlock }: Peer,
  at: string,
  problems: PartProblems,
): PeerRecord | undefined {
  if (ipBlock) {
    if (podSelector || namespaceSelector) {
      problems.add(
        at,
        { podSelector, namespaceSelector, ipBlock },
        `must be one of them; ${closedPeer}`,
      );
      return undefined;
    }
    return readBlock(ipBlock, `${at}.ipBlock`, problems);
  }
  if (!podSelector && !namespaceSelector) {
    const rule = `must have podSelector, namespaceSelector or ipBlock; ${closedPeer}`;
    problems.add(at, {}, rule);
    return undefined;
  }
  const read = (field: string, selector: Peer['podSelector']): Selector | undefined =>
    readSelector(`${at}.${field}`, selector, problems, closedPeer);
  const pods = read('podSelector', podSelector);
  const namespaces = read('namespaceSelector', namespaceSelector);
  if (pods === undefined || namespaces === undefined) return undefined;
  return { type: 'pods', namespaces: namespaceSelector ? namespaces : undefined, pods };
}

function readBlock(
  { cidr, except }: NonNullable<Peer['ipBlock']>,
  at: string,
  problems: PartProblems,
): PeerRecord | undefined {
  const read = (field: string, text: string): string | undefined => {
    const range = canonicalRange(text.trim());
    if (range === undefined) {
      problems.add(field, text, `must be a range such as 192.0.2.0/24; ${closedPeer}`);
    }
    return range;
  };
  const range = read(`${at}.cidr`, cidr);
  const exceptions = (except ?? []).map((text, i) => read(`${at}.except[${i}]`, text));
  if (range === undefined || exceptions.includes(undefined)) return undefined;
  return {
    type: 'range',
    range,
    except: compactList(exceptions.filter((text) => text !== undefined)),
  };
}

function readPort(
  { protocol, port, endPort }: Port,
  at: string,
  problems: PartProblems,
): PortRecord | undefined {
  if (protocol !== 'TCP' && protocol !== 'UDP' && protocol !== 'SCTP') {
    problems.add(`${at}.protocol`, protocol, `must be TCP, UDP or SCTP; ${closedPort}`);
    return undefined;
  }
  if (typeof port === 'string') {
    if (port !== '' && typeof endPort !== 'number') {
      return { type: 'name', protocol, name: sharedText(port) };
    }
    const [field, value, rule] =
      port === ''
        ? ['port', port, 'must be a number or a name']
        : ['endPort', endPort, 'must be absent, because port is a name'];
    problems.add(`${at}.${field}`, value, `${rule}; ${closedPort}`);
    return undefined;
  }
  return readNumbers(
    `${at}.port`,
    `${at}.endPort`,
    { protocol, first: port, last: endPort },
    problems,
  );
}

/**
 * Returns a range of port numbers. Without a first number it has all ports, without a last one it has the first one only.
 * Returns undefined, with a sentence, for numbers that can't be used.
 */
export function readNumbers(
  firstField: string,
  lastField: string,
  range: {
    readonly protocol: Protocol;
    readonly first: number | null | undefined;
    readonly last: number | null | undefined;
  },
  problems: PartProblems,
): PortRecord | undefined {
  const { protocol, first, last } = range;
  const isPort = (number: number) => Number.isInteger(number) && number >= 1 && number <= 65535;
  const rule = `must be a whole number from 1 to 65535; ${closedPort}`;
  if (first === null || first === undefined) {
    if (last === null || last === undefined) {
      return { type: 'numbers', protocol: sharedText(protocol), first: 0, last: 65535 };
    }
    problems.add(firstField, first, `must be given with ${lastField}; ${closedPort}`);
  } else if (!isPort(first)) problems.add(firstField, first, rule);
  else if (last === null || last === undefined) {
    return { type: 'numbers', protocol: sharedText(protocol), first, last: first };
  } else if (!isPort(last)) problems.add(lastField, last, rule);
  else if (last < first) problems.add(lastField, last, `must be at least ${first}; ${closedPort}`);
  else return { type: 'numbers', protocol: sharedText(protocol), first, last };
  return undefined;
}
