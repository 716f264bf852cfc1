import { anyAddress, labelSelector, parseLabel } from '@heddle/hubble/filter-values';
import type { LinkVerdict, Party, RuleRef, WorkloadKind } from '../contract.ts';
import type { Filter, FilterWord } from './parse.ts';
import { reasonNumber } from './reasons.ts';
import {
  durationOf,
  flagsOf,
  isAddress,
  layer7Protocols,
  portRange,
  protocolNumbers,
  ruleName,
} from './values.ts';

/** One end of a link or flow, with what filters look at. */
export interface FilterEnd extends Party {
  /** DNS names of the address. */
  readonly hosts?: readonly string[];
}

/** Properties that only single flows have. */
export interface FlowFacts {
  readonly direction: 'ingress' | 'egress' | undefined;
  /** Bits as in the TCP header. */
  readonly flags: number;
  /** NODE, or CLUSTER/NODE. */
  readonly node: string;
  readonly dns?: string | undefined;
  readonly http?:
    | { readonly path: string; readonly method: string; readonly code: number }
    | undefined;
}

/** A link or a flow that is compared with a filter. */
export interface FilterSubject {
  readonly from: FilterEnd;
  readonly to: FilterEnd;
  /** NAMESPACE/NAME, or empty. */
  readonly service: string;
  readonly protocol: number;
  /** The port of the server. */
  readonly port: number;
  readonly verdict: LinkVerdict;
  readonly reason: number;
  readonly rules: readonly RuleRef[];
  /** The time at which the link was first seen, in milliseconds since 1970. */
  readonly firstSeen: number;
  readonly flow?: FlowFacts;
}

export type FilterMatch = (subject: FilterSubject) => boolean;
type EndMatch = (end: FilterEnd) => boolean;

/**
 * Compiles a filter. Words with an error are left out. `now` is the time that `new:` counts from, in
 * milliseconds since 1970.
 */
export function compileFilter(filter: Filter, now: number): FilterMatch {
  const groups = new Map<string, FilterMatch[]>();
  const excluded: FilterMatch[] = [];
  for (const word of filter.words) {
    if (word.error) continue;
    const match = compileWord(word, now);
    if (word.isExcluded) {
      excluded.push(match);
    } else {
      // Words without a key must all hold; of words with the same key, one.
      const group = word.key === '' ? `\0${word.start}` : word.key;
      groups.set(group, [...(groups.get(group) ?? []), match]);
    }
  }
  const wanted = [...groups.values()];
  return (subject) =>
    wanted.every((group) => group.some((match) => match(subject))) &&
    !excluded.some((match) => match(subject));
}

/** Returns true if a word asks for what links do not have: then only single flows can be compared. */
export function isOfFlows({ words }: Filter): boolean {
  return words.some(({ error, known, key, value }) => {
    if (error) return false;
    if (known?.isOfFlows) return true;
    if (key === 'proto') return layer7Protocols.includes(value);
    return ['', 'with', 'from', 'to'].includes(key) && isAddress(value);
  });
}

/** Compiles one word as if it were not excluded. */
export function compileWord(word: FilterWord, now: number): FilterMatch {
  const { key, value } = word;
  switch (key) {
    case '':
      return nameMatch(value);
    case 'ns':
      return eitherEnd(namespaceMatch(value));
    case 'from-ns':
      return fromEnd(namespaceMatch(value));
    case 'to-ns':
      return toEnd(namespaceMatch(value));
    case 'with':
      return eitherEnd(endMatch(value));
    case 'from':
      return fromEnd(endMatch(value));
    case 'to':
      return toEnd(endMatch(value));
    case 'label':
      return eitherEnd(labelMatch(value));
    case 'new': {
      const since = now - durationOf(value)!;
      return ({ firstSeen }) => firstSeen >= since;
    }
    default:
      return packetMatch(key, value) ?? policyMatch(key, value) ?? flowMatch(key, value);
  }
}

function packetMatch(key: string, value: string): FilterMatch | undefined {
  switch (key) {
    case 'svc': {
      const matches = pathMatch(value);
      return ({ service }) => service !== '' && matches(service);
    }
    case 'port': {
      const [first, last] = portRange(value)!;
      return ({ port }) => port >= first && port <= last;
    }
    case 'proto': {
      if (value === 'dns') return ({ flow }) => flow?.dns !== undefined;
      if (value === 'http') return ({ flow }) => flow?.http !== undefined;
      const numbers = protocolNumbers[value]!;
      return ({ protocol }) => numbers.includes(protocol);
    }
    case 'verdict':
      return ({ verdict }) => verdict === value;
    case 'reason': {
      const number = reasonNumber(value);
      return ({ reason, verdict }) => verdict !== 'forwarded' && reason === number;
    }
    default:
      return undefined;
  }
}

function policyMatch(key: string, value: string): FilterMatch | undefined {
  const decides = ({ relation }: RuleRef) => relation !== 'nearest';
  if (key === 'rule') {
    const wanted = ruleName(value)!;
    return ({ rules }) =>
      rules.some(
        ({ policy, rule, direction }) =>
          rule === wanted.rule &&
          direction === wanted.direction &&
          qualified(policy.namespace, policy.name) === wanted.policy,
      );
  }
  if (key !== 'policy') return undefined;
  if (value === 'none') return ({ rules }) => !rules.some(decides);
  if (value === 'any') return ({ rules }) => rules.some(decides);
  const matches = pathMatch(value);
  return ({ rules }) =>
    rules.some(
      (each) => decides(each) && matches(qualified(each.policy.namespace, each.policy.name)),
    );
}

function flowMatch(key: string, value: string): FilterMatch {
  switch (key) {
    case 'dir':
      return ({ flow }) => flow?.direction === value;
    case 'flags': {
      const wanted = flagsOf(value)!;
      return ({ flow, protocol }) =>
        protocol === 6 && flow !== undefined && (flow.flags & wanted) === wanted;
    }
    case 'dns': {
      const matches = globMatch(value.toLowerCase());
      return ({ flow }) => flow?.dns !== undefined && matches(dnsName(flow.dns));
    }
    case 'path': {
      const matches = globMatch(value);
      return ({ flow }) => flow?.http !== undefined && matches(flow.http.path);
    }
    case 'code': {
      const digits = value.replaceAll(/x/gi, '');
      return ({ flow }) => flow?.http !== undefined && String(flow.http.code).startsWith(digits);
    }
    case 'method': {
      const wanted = value.toUpperCase();
      return ({ flow }) => flow?.http?.method.toUpperCase() === wanted;
    }
    case 'node': {
      const matches = globMatch(value);
      return ({ flow }) =>
        flow !== undefined && (matches(flow.node) || matches(flow.node.replace(/^.*\//, '')));
    }
    default:
      throw new Error(`compile filter: the key ${key} has no match`);
  }
}

function fromEnd(match: EndMatch): FilterMatch {
  return ({ from }) => match(from);
}

function toEnd(match: EndMatch): FilterMatch {
  return ({ to }) => match(to);
}

function eitherEnd(match: EndMatch): FilterMatch {
  return ({ from, to }) => match(from) || match(to);
}

function namespaceMatch(value: string): EndMatch {
  const matches = globMatch(value);
  return ({ namespace }) => namespace !== '' && matches(namespace);
}

const kindsOf: Readonly<Record<string, WorkloadKind>> = {
  outside: 'Outside',
  host: 'Host',
  node: 'Node',
};

function endMatch(value: string): EndMatch {
  if (Object.hasOwn(kindsOf, value)) return ({ kind }) => kind === kindsOf[value];
  if (isAddress(value)) return addressMatch(value);
  const slash = value.indexOf('/');
  if (slash < 0) {
    const matches = globMatch(value);
    return ({ name, pod, hosts }) =>
      matches(name) || (pod !== undefined && matches(pod)) || (hosts ?? []).some(matches);
  }
  const inNamespace = namespaceMatch(value.slice(0, slash));
  const name = value.slice(slash + 1);
  if (name === '') return inNamespace;
  const matches = globMatch(name);
  return (end) =>
    inNamespace(end) && (matches(end.name) || (end.pod !== undefined && matches(end.pod)));
}

function addressMatch(value: string): EndMatch {
  const matches = anyAddress('address', [value]);
  return ({ address }) => address !== undefined && matches(address);
}

function labelMatch(value: string): EndMatch {
  const selects = labelSelector('label', value);
  return ({ labels }) => labels !== undefined && selects(labels.map(parseLabel));
}

/** Returns the match of a word without a key: a part of any name, or an address. */
function nameMatch(value: string): FilterMatch {
  if (isAddress(value)) return eitherEnd(addressMatch(value));
  const wanted = value.toLowerCase();
  const has = (text: string | undefined) => text?.toLowerCase().includes(wanted) ?? false;
  const endHas: EndMatch = ({ namespace, name, pod, hosts }) =>
    has(qualified(namespace, name)) ||
    (pod !== undefined && has(qualified(namespace, pod))) ||
    (hosts ?? []).some(has);
  return ({ from, to, service, rules, flow }) =>
    endHas(from) ||
    endHas(to) ||
    has(service) ||
    rules.some(({ policy }) => has(qualified(policy.namespace, policy.name))) ||
    has(flow?.dns);
}

/** Returns the match of NAMESPACE/NAME, or of a name in all namespaces. */
function pathMatch(value: string): (path: string) => boolean {
  const matches = globMatch(value);
  if (value.includes('/')) return matches;
  return (path) => matches(path.slice(path.indexOf('/') + 1));
}

function qualified(namespace: string, name: string): string {
  return namespace === '' ? name : `${namespace}/${name}`;
}

function dnsName(query: string): string {
  return query.toLowerCase().replace(/\.$/, '');
}

/**
 * Compiles a pattern in which `*` matches any text. The comparison takes time in proportion to both lengths at
 * most, also for patterns with many stars.
 */
export function globMatch(pattern: string): (text: string) => boolean {
  if (!pattern.includes('*')) return (text) => text === pattern;
  const parts = pattern.split('*');
  const [first, last] = [parts[0]!, parts.at(-1)!];
  const between = parts.slice(1, -1).filter((part) => part !== '');
  return (text) => {
    if (text.length < first.length + last.length) return false;
    if (!text.startsWith(first) || !text.endsWith(last)) return false;
    const end = text.length - last.length;
    let at = first.length;
    for (const part of between) {
      const found = text.indexOf(part, at);
      if (found < 0 || found + part.length > end) return false;
      at = found + part.length;
    }
    return true;
  };
}
