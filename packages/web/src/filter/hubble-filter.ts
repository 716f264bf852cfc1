import type { Filter, FilterWord } from './parse.ts';
import { reasonNumber } from './reasons.ts';
import { flagBits, flagsOf, isAddress, portRange } from './values.ts';

/** Fields of Hubble's FlowFilter, by their names in its JSON form. All that are present must match. */
export interface HubbleFilter {
  source_pod?: string[];
  destination_pod?: string[];
  source_ip?: string[];
  destination_ip?: string[];
  source_fqdn?: string[];
  destination_fqdn?: string[];
  source_label?: string[];
  destination_label?: string[];
  source_workload?: { name: string }[];
  destination_workload?: { name: string }[];
  source_identity?: number[];
  destination_identity?: number[];
  destination_service?: string[];
  destination_port?: string[];
  protocol?: string[];
  verdict?: string[];
  drop_reason_desc?: number[];
  traffic_direction?: string[];
  tcp_flags?: Record<string, boolean>[];
  dns_query?: string[];
  http_path?: string[];
  http_status_code?: string[];
  http_method?: string[];
  node_name?: string[];
}

/**
 * A filter as lists of Hubble's GetFlowsRequest. They compare the packets that clients send; those of servers have
 * source and destination the other way round.
 */
export interface HubbleFilters {
  readonly allow: readonly HubbleFilter[];
  readonly deny: readonly HubbleFilter[];
  /** The words that the lists do not express wholly. The lists let through what these words let through, and more. */
  readonly left: readonly FilterWord[];
}

/** Filters of which one matches if a word does, and whether they match nothing else. */
interface Translation {
  readonly filters: readonly HubbleFilter[];
  readonly isExact: boolean;
}

/** Longer lists than this are not made: the words that need them are left. */
const listMax = 64;

/** Translates a filter. Words with an error are left out. */
export function hubbleFilters({ words }: Filter): HubbleFilters {
  const usable = words.filter(({ error }) => !error);
  const left = new Set<FilterWord>();
  const deny = usable
    .filter(({ isExcluded }) => isExcluded)
    .flatMap((word) => {
      const translation = translate(word);
      if (translation?.isExact) return translation.filters;
      left.add(word);
      return [];
    });
  let allow: readonly HubbleFilter[] = [];
  for (const group of groupsOf(usable)) {
    const translations = group.map(translate);
    const isWhole = translations.every((each) => each !== undefined);
    const filters = translations.flatMap((each) => each?.filters ?? []);
    const joined = isWhole ? product(allow, filters) : undefined;
    if (joined) allow = joined;
    const isExact = joined !== undefined && translations.every((each) => each?.isExact);
    if (!isExact) for (const word of group) left.add(word);
  }
  return { allow, deny, left: usable.filter((word) => left.has(word)) };
}

/** Returns the words that are not excluded, those with the same key together. */
function groupsOf(words: readonly FilterWord[]): FilterWord[][] {
  const groups = new Map<string, FilterWord[]>();
  for (const word of words) {
    if (!word.isExcluded) groups.set(word.key, [...(groups.get(word.key) ?? []), word]);
  }
  return [...groups.values()];
}

/** Returns the filters for both lists at once, or undefined if they share a field or are too many. */
function product(
  one: readonly HubbleFilter[],
  other: readonly HubbleFilter[],
): readonly HubbleFilter[] | undefined {
  if (Math.max(one.length, 1) * other.length > listMax) return undefined;
  if (one.length === 0) return other;
  const fields = new Set(one.flatMap((each) => Object.keys(each)));
  const isShared = other.some((each) => Object.keys(each).some((field) => fields.has(field)));
  return isShared ? undefined : one.flatMap((a) => other.map((b) => ({ ...a, ...b })));
}

function exact(...filters: HubbleFilter[]): Translation {
  return { filters, isExact: true };
}

function wider(...filters: HubbleFilter[]): Translation {
  return { filters, isExact: false };
}

/** Returns the filters for the word as if it were not excluded, or undefined if there are none. */
function translate({ key, value }: FilterWord): Translation | undefined {
  switch (key) {
    case 'ns':
    case 'with':
      return eitherSide((side) => (key === 'ns' ? inNamespace(value, side) : endAt(value, side)));
    case 'from-ns':
      return inNamespace(value, 'source');
    case 'to-ns':
      return inNamespace(value, 'destination');
    case 'from':
      return endAt(value, 'source');
    case 'to':
      return endAt(value, 'destination');
    case 'label':
      return exact({ source_label: [value] }, { destination_label: [value] });
    case 'svc':
      return isPlainPath(value) ? wider({ destination_service: [value] }) : undefined;
    default:
      return packet(key, value) ?? layer7(key, value);
  }
}

function packet(key: string, value: string): Translation | undefined {
  switch (key) {
    case 'port': {
      const [first, last] = portRange(value)!;
      const ports = Array.from({ length: Math.min(last - first, listMax) + 1 }, (_, index) =>
        String(first + index),
      );
      return ports.length > listMax ? undefined : exact({ destination_port: ports });
    }
    case 'proto':
      return exact({ protocol: [value] });
    case 'verdict':
      return verdictFilters[value];
    case 'reason':
      return wider({ verdict: ['DROPPED'], drop_reason_desc: [reasonNumber(value)!] });
    case 'dir':
      return exact({ traffic_direction: [value.toUpperCase()] });
    case 'flags': {
      const bits = flagsOf(value)!;
      const names = Object.keys(flagBits).filter((name) => (flagBits[name]! & bits) !== 0);
      return exact({
        tcp_flags: [Object.fromEntries(names.map((name) => [name.toUpperCase(), true]))],
      });
    }
    case 'node':
      return exact({ node_name: [value.includes('/') ? value : `/${value}`] });
    default:
      return undefined;
  }
}

const verdictFilters: Readonly<Record<string, Translation>> = {
  forwarded: exact({ verdict: ['FORWARDED', 'REDIRECTED', 'TRACED', 'TRANSLATED'] }),
  dropped: wider({ verdict: ['DROPPED'] }),
  refused: wider({ verdict: ['ERROR', 'DROPPED'] }),
  audit: exact({ verdict: ['AUDIT'] }),
};

function layer7(key: string, value: string): Translation | undefined {
  switch (key) {
    case 'dns':
      return exact({ dns_query: [`(?i)^${expressionOf(value)}\\.?$`] });
    case 'path':
      return wider({ http_path: [`^${expressionOf(value)}$`] });
    case 'code':
      return exact({ http_status_code: [value.replace(/xx$/i, '+')] });
    case 'method':
      return exact({ http_method: [value] });
    default:
      return undefined;
  }
}

type Side = 'source' | 'destination';

/** Returns the filters of both sides, or undefined if a side has none. */
function eitherSide(of: (side: Side) => Translation | undefined): Translation | undefined {
  const [source, destination] = [of('source'), of('destination')];
  if (!source || !destination) return undefined;
  return {
    filters: [...source.filters, ...destination.filters],
    isExact: source.isExact && destination.isExact,
  };
}

function inNamespace(value: string, side: Side): Translation | undefined {
  return value.includes('*') ? undefined : exact({ [`${side}_pod`]: [`${value}/`] });
}

/** Hubble's identities of ends that are no pods. */
const identities: Readonly<Record<string, readonly number[]>> = {
  host: [1],
  node: [6],
  outside: [2, 9, 10],
};

function endAt(value: string, side: Side): Translation | undefined {
  if (Object.hasOwn(identities, value)) {
    return wider({ [`${side}_identity`]: identities[value]! });
  }
  if (isAddress(value)) return exact({ [`${side}_ip`]: [value] });
  const [namespace, name, ...rest] = value.split('/') as [string, ...string[]];
  if (rest.length > 0 || namespace.includes('*')) return undefined;
  if (name === undefined) return undefined;
  if (name === '') return inNamespace(namespace, side);
  // A name may be that of the workload, which the names of its pods need not begin with.
  if (name.includes('*')) return wider({ [`${side}_pod`]: [`${namespace}/`] });
  return wider(
    { [`${side}_workload`]: [{ name }], [`${side}_pod`]: [`${namespace}/`] },
    { [`${side}_pod`]: [`${namespace}/${name}`] },
  );
}

function isPlainPath(value: string): boolean {
  return /^[^/*]+\/[^/*]+$/.test(value);
}

/** Returns a pattern with `*` as a regular expression. */
function expressionOf(pattern: string): string {
  return pattern
    .split('*')
    .map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
    .join('.*');
}

/**
 * Returns the arguments of the command `hubble` that observe the flows of a filter, as a shell reads them. The
 * flows of the words in `left` are more than the filter's.
 */
export function hubbleCommand(filter: Filter): string {
  const { allow, deny } = hubbleFilters(filter);
  const option = (name: string) => (each: HubbleFilter) =>
    `--${name} '${JSON.stringify(each).replaceAll("'", "'\\''")}'`;
  return [
    'hubble observe',
    ...allow.map(option('allowlist')),
    ...deny.map(option('denylist')),
  ].join(' ');
}
