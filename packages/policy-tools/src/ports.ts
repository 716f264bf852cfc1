import type { PodRecord, Protocol, RuleRecord } from '@heddle/objects';
import { judge, type PolicyWorld, type PortRange } from '@heddle/policy';
import { type AnyProtocol, rangeText } from './texts.ts';

const protocols: readonly Protocol[] = ['TCP', 'UDP', 'SCTP'];
const lastPort = 65535;

/** The ports at which connections from one address to another one are allowed. */
export interface AllowedPorts {
  /** In the order of protocol and number; ranges do not touch. */
  readonly ranges: readonly PortRange[];
  /** ICMP and all other protocols without ports. */
  readonly other: boolean;
}

/** Returns the ports that the policies allow from one address to another one. */
export function allowedPorts(world: PolicyWorld, from: string, to: string): AllowedPorts {
  const allowed = (protocol: AnyProtocol, port: number) =>
    judge(world, { from, to, protocol, port }).allowed;
  const rules = rulesOf(world, world.podAt(from), world.podAt(to));
  const ranges: PortRange[] = [];
  for (const protocol of protocols) {
    const starts = boundaries(rules, protocol, world.podAt(to));
    for (const [i, first] of starts.entries()) {
      if (!allowed(protocol, first)) continue;
      const last = (starts[i + 1] ?? lastPort + 1) - 1;
      const before = ranges.at(-1);
      if (before?.protocol === protocol && before.last === first - 1) {
        ranges[ranges.length - 1] = { ...before, last };
      } else ranges.push({ protocol, first, last });
    }
  }
  return { ranges, other: allowed('other', 0) };
}

function rulesOf(
  world: PolicyWorld,
  client: PodRecord | undefined,
  server: PodRecord | undefined,
): readonly RuleRecord[] {
  const of = (pod: PodRecord | undefined, direction: 'egress' | 'ingress') =>
    pod ? world.policiesOf(pod).flatMap((policy) => policy[direction] ?? []) : [];
  return [...of(client, 'egress'), ...of(server, 'ingress')];
}

/** Returns the first ports of the ranges within which all verdicts are equal. */
function boundaries(
  rules: readonly RuleRecord[],
  protocol: Protocol,
  server: PodRecord | undefined,
): readonly number[] {
  const starts = new Set([1]);
  const add = (first: number, last: number) => {
    if (first > 1) starts.add(first);
    if (last < lastPort) starts.add(last + 1);
  };
  for (const port of rules.flatMap(({ ports }) => ports ?? [])) {
    if (port.type === 'numbers') {
      if (port.protocol === protocol) add(port.first, port.last);
      continue;
    }
    for (const own of server?.namedPorts ?? []) {
      if (own.name === port.name && own.protocol === protocol) add(own.port, own.port);
    }
  }
  return [...starts].sort((a, b) => a - b);
}

/** Returns allowed ports as text: `all`, `none`, `TCP/80, UDP/53`, `all but TCP/22`. */
export function allowedText({ ranges, other }: AllowedPorts): string {
  const denied = complement(ranges);
  if (other && denied.length === 0) return 'all';
  if (!other && ranges.length === 0) return 'none';
  const texts = [...ranges.map(rangeText), ...(other ? ['ICMP'] : [])];
  if (other && denied.length < texts.length) return `all but ${denied.map(rangeText).join(', ')}`;
  return texts.join(', ');
}

/** Returns the ranges of ports that are in none of these. */
function complement(ranges: readonly PortRange[]): readonly PortRange[] {
  return protocols.flatMap((protocol) => {
    const missing: PortRange[] = [];
    let next = 1;
    for (const { first, last } of ranges.filter((range) => range.protocol === protocol)) {
      if (first > next) missing.push({ protocol, first: next, last: first - 1 });
      next = last + 1;
    }
    if (next <= lastPort) missing.push({ protocol, first: next, last: lastPort });
    return missing;
  });
}
