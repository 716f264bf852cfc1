import { labelSelector } from '@heddle/hubble/filter-values';
import { parseCidr, parseIp } from '@heddle/sys';
import type { LinkVerdict } from '../contract.ts';
import { nearest } from './nearest.ts';
import { reasonNumber, reasonWords } from './reasons.ts';
import { wordText } from './words.ts';

/** The reason why a word cannot be used, and the word that may be meant. */
export interface WordError {
  /** A whole sentence. */
  readonly text: string;
  readonly suggestion?: string;
}

/** A key of the filter. */
export interface FilterKey {
  readonly name: string;
  /** The values that the key takes, in words. */
  readonly values: string;
  /** All values, where there are few. */
  readonly known?: readonly string[];
  /** True if links do not have the property, so that only single flows can be compared. */
  readonly isOfFlows: boolean;
  /** Returns the error of a value, or undefined if it can be used. */
  readonly check: (value: string) => WordError | undefined;
}

/** The names of the bits of TCP flags as filters have them. */
export const flagBits: Readonly<Record<string, number>> = {
  ...{ fin: 0x01, syn: 0x02, rst: 0x04, psh: 0x08, ack: 0x10, urg: 0x20, ece: 0x40, cwr: 0x80 },
};
/** The numbers of IP protocols that `proto:` takes. */
export const protocolNumbers: Readonly<Record<string, readonly number[]>> = {
  tcp: [6],
  udp: [17],
  sctp: [132],
  icmp: [1, 58],
};
/** Protocols above TCP and UDP that `proto:` takes. */
export const layer7Protocols = ['dns', 'http'];
/** Names of ports that `port:` takes. */
export const portNames: Readonly<Record<string, number>> = { dns: 53 };
export const verdicts: readonly LinkVerdict[] = ['forwarded', 'dropped', 'refused', 'audit'];
/** Values of `with:`, `from:` and `to:` that stand for a kind of end. */
export const endWords = ['outside', 'host', 'node'];

const seconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** Returns the milliseconds of `30s`, `5m`, `1h` or `2d`, or undefined for other text. */
export function durationOf(text: string): number | undefined {
  const match = /^(\d{1,4})([smhd])$/.exec(text);
  return match ? Number(match[1]) * seconds[match[2]!]! * 1000 : undefined;
}

/** Returns the first and the last port of `443`, `8000-8999` or a name, or undefined for other text. */
export function portRange(text: string): readonly [number, number] | undefined {
  if (Object.hasOwn(portNames, text)) return [portNames[text]!, portNames[text]!];
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (!match) return undefined;
  const [first, last] = [Number(match[1]), Number(match[2] ?? match[1])];
  return first <= last && last <= 65_535 ? [first, last] : undefined;
}

/** Returns the bits of `syn` or `syn-ack`, or undefined for other text. */
export function flagsOf(text: string): number | undefined {
  let bits = 0;
  for (const name of text.toLowerCase().split('-')) {
    if (!Object.hasOwn(flagBits, name)) return undefined;
    bits |= flagBits[name]!;
  }
  return bits;
}

/** The parts of `rule:`, e.g. shop/allow-cart#ingress/2. */
export interface RuleName {
  readonly policy: string;
  readonly direction: 'ingress' | 'egress';
  readonly rule: number;
}

/** Reads the value of `rule:`. */
export function ruleName(text: string): RuleName | undefined {
  const match = /^([^#]+)#(ingress|egress)\/(\d{1,5})$/.exec(text);
  if (!match) return undefined;
  const [, policy, direction, rule] = match as unknown as [
    string,
    string,
    RuleName['direction'],
    string,
  ];
  return { policy, direction, rule: Number(rule) };
}

/** Returns true for an address and for a range in CIDR notation. */
export function isAddress(text: string): boolean {
  return text.includes('/') ? parseCidr(text) !== undefined : parseIp(text) !== undefined;
}

type Check = FilterKey['check'];

/** Returns a check that asks for one of these values. */
function oneOf(key: string, values: readonly string[]): Check {
  return (value) => {
    if (values.includes(value)) return undefined;
    const near = nearest(value, values);
    return {
      text: `${key} wants one of ${values.join(', ')}.`,
      ...(near === undefined ? {} : { suggestion: wordText(key, near) }),
    };
  };
}

/** Returns a check that asks for a text that `read` can read. */
function readable(key: string, wants: string, read: (value: string) => unknown): Check {
  return (value) => (read(value) === undefined ? { text: `${key} wants ${wants}.` } : undefined);
}

function present(key: string, wants: string): Check {
  return readable(key, wants, (value) => (/\s/.test(value) ? undefined : value));
}

function checkPort(value: string): WordError | undefined {
  if (portRange(value)) return undefined;
  const text = 'port wants a number, a range such as 8000-8999, or dns.';
  const isName = /^[a-z][-a-z0-9]*$/.test(value);
  return isName ? { text, suggestion: wordText('svc', value) } : { text };
}

function checkReason(value: string): WordError | undefined {
  if (reasonNumber(value) !== undefined) return undefined;
  const near = nearest(value, Object.keys(reasonWords));
  return {
    text: `reason wants a name such as policy-denied, Hubble's name, or a number.`,
    ...(near === undefined ? {} : { suggestion: wordText('reason', near) }),
  };
}

function checkLabel(value: string): WordError | undefined {
  try {
    labelSelector('label', value);
    return undefined;
  } catch {
    return { text: 'label wants a selector such as app=cart or "tier in (a,b)".' };
  }
}

function checkRule(value: string): WordError | undefined {
  if (ruleName(value)) return undefined;
  const text = 'rule wants NAMESPACE/NAME#ingress/NUMBER or NAMESPACE/NAME#egress/NUMBER.';
  return value.includes('#') ? { text } : { text, suggestion: wordText('policy', value) };
}

interface Extras {
  readonly known?: readonly string[];
  readonly isOfFlows?: boolean;
}

function key(name: string, values: string, check: Check, extras: Extras = {}): FilterKey {
  return { name, values, check, isOfFlows: false, ...extras };
}

const ofFlows = { isOfFlows: true };
const names = 'a name, which may have * at any place';
const end = 'a workload, pod, name*, address, range, outside, host or node';
const protocols = [...Object.keys(protocolNumbers), ...layer7Protocols];
const directions = ['ingress', 'egress'];

/** The keys of the filter, in the order in which they are offered. */
export const filterKeys: readonly FilterKey[] = [
  key('ns', 'the namespace of either side', present('ns', names)),
  key('from-ns', 'the namespace of the client', present('from-ns', names)),
  key('to-ns', 'the namespace of the server', present('to-ns', names)),
  key('with', end, present('with', end), { known: endWords }),
  key('from', end, present('from', end), { known: endWords }),
  key('to', end, present('to', end), { known: endWords }),
  key('svc', 'NAMESPACE/SERVICE', present('svc', 'NAMESPACE/SERVICE')),
  key('label', 'a selector of labels', checkLabel),
  key('port', 'a port or a range of the server', checkPort, { known: Object.keys(portNames) }),
  key('proto', 'a protocol', oneOf('proto', protocols), { known: protocols }),
  key('verdict', 'an outcome', oneOf('verdict', verdicts), { known: verdicts }),
  key('reason', 'a reason of drops', checkReason, { known: Object.keys(reasonWords) }),
  key('policy', 'NAMESPACE/NAME, none or any', present('policy', 'NAMESPACE/NAME, none or any'), {
    known: ['none', 'any'],
  }),
  key('rule', 'NAMESPACE/NAME#ingress/NUMBER', checkRule),
  key('dir', 'ingress or egress', oneOf('dir', directions), { known: directions, isOfFlows: true }),
  key('flags', 'TCP flags', readable('flags', 'TCP flags such as syn, rst or syn-ack', flagsOf), {
    known: ['syn', 'syn-ack', 'fin', 'rst'],
    isOfFlows: true,
  }),
  key('dns', 'a name that DNS is asked for', present('dns', names), ofFlows),
  key('path', 'a path of HTTP', present('path', 'a path such as /api/*'), ofFlows),
  key(
    'code',
    'a status of HTTP',
    readable('code', 'a status such as 404 or 5xx', (value) =>
      /^[1-5](\d\d|xx)$/i.test(value) ? value : undefined,
    ),
    ofFlows,
  ),
  key('method', 'a method of HTTP', present('method', 'a method such as GET'), ofFlows),
  key('node', 'a node', present('node', names), ofFlows),
  key(
    'new',
    'links that were first seen since',
    readable('new', 'a time such as 30s, 5m, 1h or 1d', durationOf),
  ),
];
