import { type Check, judged, type Result, setSysctl } from '../check.ts';
import { sysctlOf, valueIfKnown } from '../facts.ts';

interface Range {
  readonly first: number;
  readonly last: number;
}

/** The NodePorts of Kubernetes by default. */
const nodePorts: Range = { first: 30_000, last: 32_767 };
const reservedName = 'net/ipv4/ip_local_reserved_ports';
const rangeName = 'net/ipv4/ip_local_port_range';

function readRange(text: string): Range | undefined {
  const found = /^(\d+)(?:[\s-]+(\d+))?$/.exec(text.trim());
  return found ? { first: Number(found[1]), last: Number(found[2] ?? found[1]) } : undefined;
}

function shown({ first, last }: Range): string {
  return first === last ? `${first}` : `${first}-${last}`;
}

/** Returns the parts of `range` that lie in `local` and not in `reserved`. */
export function conflicts(range: Range, local: Range, reserved: readonly Range[]): Range[] {
  let left: Range[] = [
    { first: Math.max(range.first, local.first), last: Math.min(range.last, local.last) },
  ];
  for (const { first, last } of reserved) {
    left = left.flatMap((part) => [
      { first: part.first, last: Math.min(part.last, first - 1) },
      { first: Math.max(part.first, last + 1), last: part.last },
    ]);
  }
  return left.filter(({ first, last }) => first <= last);
}

interface RangeConflict {
  readonly name: string;
  /** The ports of the range that the node's sockets choose, too. */
  readonly taken: readonly Range[];
}

/** Returns the result for all ranges together, because one sysctl reserves them. */
function judgeRanges(ranges: readonly RangeConflict[], reserved: string): Result {
  const names = ranges.map(({ name }) => name).join(' and ');
  const bad = ranges.filter(({ taken }) => taken.length > 0);
  if (bad.length === 0) return { state: 'good', found: `${names} lie elsewhere` };
  const lists = bad.map(({ name, taken }) => `${taken.map(shown).join(', ')} of ${name}`);
  const wanted = [reserved, ...bad.flatMap(({ taken }) => taken.map(shown))];
  return {
    state: 'wrong',
    found: `the node's sockets choose ${lists.join(' and ')}, too`,
    recommended: 'reserve them in net.ipv4.ip_local_reserved_ports',
    changes: [setSysctl(reservedName, wanted.filter((text) => text !== '').join(','))],
  };
}

export const localPorts: Check = {
  name: 'local-ports',
  about: 'net.ipv4.ip_local_port_range against SNAT ports and NodePorts',
  advice: 'apart, or reserved by net.ipv4.ip_local_reserved_ports',
  reason:
    'a socket of the node that chooses such a port gets mixed up with a connection of a client, or keeps a NodePort from being served',
  risk: 'the node has fewer ports for its own connections',
  applies: 'yes',
  examine(facts) {
    const { agent } = facts;
    return [
      judged(sysctlOf(facts, rangeName), (text) => {
        const local = readRange(text);
        if (!local) return { state: 'unknown', found: `${rangeName} has another form: ${text}` };
        const reservedFact = sysctlOf(facts, reservedName);
        if ('unknown' in reservedFact) return { state: 'unknown', found: reservedFact.unknown };
        const reserved = reservedFact.value.split(',').flatMap((part) => readRange(part) ?? []);
        const snat = readRange(valueIfKnown(agent)?.config.snatPorts ?? '');
        const ranges = [{ name: `NodePorts ${shown(nodePorts)}`, range: nodePorts }];
        if (snat) ranges.unshift({ name: `SNAT ports ${shown(snat)}`, range: snat });
        const result = judgeRanges(
          ranges.map(({ name, range }) => ({ name, taken: conflicts(range, local, reserved) })),
          reservedFact.value,
        );
        if (snat || result.state !== 'good') return result;
        return { state: 'unknown', found: `${result.found}; the SNAT ports are unknown` };
      }),
    ];
  },
};

export const timeWait: Check = {
  name: 'tcp-tw-reuse',
  about: 'net.ipv4.tcp_tw_reuse of the node; pods get it from Heddle',
  advice: '1',
  reason:
    'a client that closes first leaves its port in TIME-WAIT for a minute: beyond 14,000 such ports towards one backend connect() took 2,900 us in place of 18 us, and with all taken it fails. With 1 it took 18 us throughout',
  risk: 'none with TCP timestamps, which are on by default',
  applies: 'yes',
  examine(facts) {
    const name = 'net/ipv4/tcp_tw_reuse';
    return [
      judged(sysctlOf(facts, name), (value) =>
        value === '1'
          ? { state: 'good', found: value }
          : {
              ...{ state: 'improve', found: value, recommended: '1' },
              changes: [setSysctl(name, '1')],
            },
      ),
    ];
  },
};
