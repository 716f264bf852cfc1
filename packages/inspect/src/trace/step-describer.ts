import type { PolicyRuleEntry } from '@heddle/agent';
import { describeAccess, dropReasonText, type EntryNames } from '@heddle/datapath';
import type { Btf, ObjectSpec } from '@heddle/ebpf';
import { formatIp } from '@heddle/sys';
import type { SourceLine } from '@heddle/vm';
import { type Dump, listOf } from '../dump/dump.ts';
import { type Decoded, decodeValue } from './decode.ts';
import type { Access, RouteLookup } from './recorder.ts';
import { addressAt, fib } from './routes.ts';

/** A map access with decoded key and value, and a description. */
export interface DescribedAccess {
  readonly map: string;
  readonly action: Access['action'];
  readonly key: Decoded;
  /** Absent if there is no such element. */
  readonly value?: Decoded;
  /** A description; absent for internal entries. */
  readonly meaning?: string;
  /** The source line, `file:line: text`. */
  readonly source?: string;
}

/** The reason of a refusal or drop: its name in the ABI, and its text. */
export interface Reason {
  readonly name: string;
  readonly text: string;
  /** The number of the rule of a network policy that has denied the packet. */
  readonly rule?: number;
  /** The name of the rule, `ingress[0] of NetworkPolicy shop/db`, if the dump has it. */
  readonly by?: string;
}

const routeResults: Readonly<Record<number, string>> = {
  [fib.blackhole]: 'a blackhole route',
  [fib.unreachable]: 'unreachable',
  [fib.prohibited]: 'prohibited',
  [fib.notForwarded]: 'for this node itself',
  [fib.forwardingDisabled]:
    'forwarding is disabled on this node (net.ipv4.ip_forward, net.ipv6.conf.all.forwarding)',
  [fib.tooLarge]: 'too large for the next link',
};

/** Describes the steps of programs. */
export class StepDescriber {
  readonly #spec: ObjectSpec;
  readonly #names: EntryNames;

  /** `spec` is the object whose programs run, which has the types. */
  constructor(dump: Dump, spec: ObjectSpec) {
    this.#spec = spec;
    this.#names = entryNames(dump);
  }

  access({ map, action, key, value, source }: Access): DescribedAccess {
    const decoded = this.#decode(map, 'keyTypeId', key);
    const found = value && this.#decode(map, 'valueTypeId', value);
    const meaning = describeAccess(map, { action, key, ...(value && { value }) }, this.#names);
    return {
      ...{ map, action, key: decoded },
      ...(found === undefined ? {} : { value: found }),
      ...(meaning === undefined ? {} : { meaning }),
      ...(source ? { source: sourceText(source) } : {}),
    };
  }

  route({ result, route }: RouteLookup): string {
    const isV4 = route[0] === 2;
    const view = new DataView(route.buffer, route.byteOffset, route.byteLength);
    const to = formatIp(addressAt(route, 32, isV4));
    if (result === fib.success || result === fib.noNeighbour) {
      const device = this.#names.networkInterface(view.getUint32(8, true));
      const unresolved =
        result === fib.noNeighbour ? ', whose link-layer address is not resolved yet' : '';
      return `the route uses ${device}, next hop ${to}${unresolved}`;
    }
    return `route to ${to}: ${routeResults[result] ?? `the kernel returns ${result}`}`;
  }

  /**
   * Returns the name of a reason in the ABI's enum, and its text. `rule` is the number of the rule that decided, if a
   * network policy has denied the packet.
   */
  reason(kind: 'refusal_reason' | 'drop_reason', number: number, rule?: number): Reason {
    const type = this.#btf.byName(kind, 'enum');
    const name =
      type?.kind === 'enum'
        ? type.values.find(({ value }) => Number(value) === number)?.name
        : undefined;
    const text = dropReasonText(number);
    if (name !== 'DROP_POLICY' || rule === undefined) return { name: name ?? `${number}`, text };
    const by = this.#names.policyRule(rule);
    const shown = `${text}: ${by ?? `rule ${rule}`}`;
    return { name: name ?? `${number}`, text: shown, rule, ...(by === undefined ? {} : { by }) };
  }

  get #btf(): Btf {
    return this.#spec.btf!;
  }

  #decode(map: string, which: 'keyTypeId' | 'valueTypeId', bytes: Uint8Array): Decoded {
    const typeId = this.#spec.maps.get(map)?.[which] ?? 0;
    return typeId === 0
      ? Buffer.from(bytes).toString('hex')
      : decodeValue(this.#btf, typeId, bytes);
  }
}

/** Returns a line with its file below bpf/, e.g. `lb/select.h:123: return id;`. */
export function sourceText({ file, line, text }: SourceLine): string {
  return `${file.replace(/^(\.\/)?bpf\//, '')}:${line}: ${text.trim()}`;
}

function ruleText({ policy, direction, rule, name }: PolicyRuleEntry): string {
  return `${direction}[${rule}]${name === undefined ? '' : ` "${name}"`} of ${policy}`;
}

/** Returns the names from the dump that descriptions of map entries use. */
function entryNames({ answers, network, head }: Dump): EntryNames {
  const services = new Map<string, string>();
  for (const { namespace, name, protocol, frontends } of 'missing' in answers
    ? []
    : listOf(answers, 'service.list')) {
    for (const { address, port } of frontends) {
      services.set(`${protocol} ${address} ${port}`, `${namespace}/${name}`);
    }
  }
  const rules = new Map(
    'missing' in answers
      ? []
      : listOf(answers, 'policy.rules').map((rule): [number | undefined, string] => [
          rule.number,
          ruleText(rule),
        ]),
  );
  return {
    policyRule: (number) => rules.get(number),
    service: (address, port, protocol) => services.get(`${protocol} ${address} ${port}`),
    networkInterface: (index) =>
      network?.links.find((link) => link.index === index)?.name ?? `interface ${index}`,
    nowNs: head.monotonicNs,
  };
}
