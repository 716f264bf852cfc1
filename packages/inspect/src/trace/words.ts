import type { Btf, ObjectSpec } from '@heddle/ebpf';
import { formatEndpoint, formatIp } from '@heddle/sys';
import type { SourceLine } from '@heddle/vm';
import type { Dump } from '../dump/dump.ts';
import { type Decoded, type DecodedFields, decodeValue } from './decode.ts';
import type { Access, RouteAsked } from './recorder.ts';
import { addressAt, fib } from './routes.ts';

/** An access with key and value as their types have them, and what it means. */
export interface Explained {
  readonly map: string;
  readonly action: Access['action'];
  readonly key: Decoded;
  /** Absent: nothing was there. */
  readonly value?: Decoded;
  /** Absent where the entry is mere bookkeeping. */
  readonly meaning?: string;
  /** `file:line: text` */
  readonly source?: string;
}

const protocols: Readonly<Record<number, string>> = { 6: 'TCP', 17: 'UDP', 132: 'SCTP' };

const algorithms: Readonly<Record<string, string>> = {
  ALGORITHM_RANDOM: 'random',
  ALGORITHM_ROUND_ROBIN: 'round robin',
  ALGORITHM_LEAST_CONNECTIONS: 'least connections',
  ALGORITHM_HASH: 'hash of the client',
};

/** Why something was refused or dropped, by the names in abi.h. */
const reasons: Readonly<Record<string, string>> = {
  REFUSED_UNKNOWN_PORT: 'a service has the address, but not this port',
  REFUSED_NO_BACKEND: 'the service has no endpoints',
  REFUSED_SOURCE_RANGE: 'loadBalancerSourceRanges does not have the client',
  DROP_INVALID_SOURCE: 'no packet can come from that source address this way',
  DROP_INVALID: 'a header is cut short, impossible or damaged',
  DROP_TOO_LARGE: 'it is larger than the next link takes',
  DROP_WRITE: 'the packet could not be changed',
  DROP_PROTOCOL: 'services do not have this protocol',
  DROP_UNKNOWN_PORT: 'a service has the address, but not this port',
  DROP_NOT_LOCAL: 'externalTrafficPolicy is Local, and no endpoint is on this node',
  DROP_TABLE_FULL: 'the flow table is full',
  DROP_EXTENSION_HEADER: 'too many IPv6 extension headers',
  DROP_FRAGMENT: 'the first fragment, which has the ports, did not come',
  DROP_NO_BACKEND: 'the service has no endpoints',
  DROP_NO_FLOW: 'it belongs to no known connection',
  DROP_NO_PORT: 'all ports of this node towards the backend are taken',
  DROP_NO_ROUTE: 'there is no route to the backend',
  DROP_SOURCE_RANGE: 'loadBalancerSourceRanges does not have the client',
  DROP_TTL: 'its time to live is over',
};

const routeResults: Readonly<Record<number, string>> = {
  [fib.blackhole]: 'a route that discards',
  [fib.unreachable]: 'unreachable',
  [fib.prohibited]: 'prohibited',
  [fib.notForwarded]: 'for this node itself',
  [fib.forwardingDisabled]:
    'this node forwards nothing (net.ipv4.ip_forward, net.ipv6.conf.all.forwarding)',
  [fib.tooLarge]: 'too large for the next link',
};

/** Puts what programs did into words. */
export class Words {
  readonly #dump: Dump;
  readonly #spec: ObjectSpec;
  readonly #names: ReadonlyMap<string, string>;

  /** `spec`: the object whose programs run, for its types. */
  constructor(dump: Dump, spec: ObjectSpec) {
    this.#dump = dump;
    this.#spec = spec;
    this.#names = serviceNames(dump);
  }

  access({ map, action, key, value, source }: Access): Explained {
    const decoded = this.#decode(map, 'keyTypeId', key);
    const found = value && this.#decode(map, 'valueTypeId', value);
    const meaning = this.#meaning(map, action, decoded, found);
    return {
      ...{ map, action, key: decoded },
      ...(found === undefined ? {} : { value: found }),
      ...(meaning === undefined ? {} : { meaning }),
      ...(source ? { source: placeText(source) } : {}),
    };
  }

  route({ result, route }: RouteAsked): string {
    const isV4 = route[0] === 2;
    const view = new DataView(route.buffer, route.byteOffset, route.byteLength);
    const to = formatIp(addressAt(route, 32, isV4));
    if (result === fib.success || result === fib.noNeighbour) {
      const device = this.#device(view.getUint32(8, true));
      const known = result === fib.noNeighbour ? ', whose link address is to be asked for' : '';
      return `the route leads out of ${device} to ${to}${known}`;
    }
    return `route to ${to}: ${routeResults[result] ?? `the kernel answers ${result}`}`;
  }

  /** Name of a reason's number in `enum` of abi.h, and what it says. */
  reason(kind: 'refusal_reason' | 'drop_reason', number: number): { name: string; text: string } {
    const type = this.#btf.byName(kind, 'enum');
    const name =
      type?.kind === 'enum'
        ? type.values.find(({ value }) => Number(value) === number)?.name
        : undefined;
    return { name: name ?? `${number}`, text: reasons[name ?? ''] ?? `reason ${number}` };
  }

  /** `namespace/name` of the service that has a frontend; undefined when no agent told it. */
  service(address: string, port: number, protocol: string): string | undefined {
    return this.#names.get(`${protocol} ${address} ${port}`);
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

  #device(index: number): string {
    return (
      this.#dump.network?.links.find((each) => each.index === index)?.name ?? `device ${index}`
    );
  }

  #meaning(
    map: string,
    action: Access['action'],
    key: Decoded,
    value: Decoded | undefined,
  ): string | undefined {
    const k = fieldsOf(key);
    const v = value === undefined ? undefined : fieldsOf(value);
    switch (map) {
      case 'services': {
        const protocol = protocols[k.protocol as number] ?? `protocol ${k.protocol}`;
        const to = `${formatEndpoint(`${k.address}`, k.port as number)}/${protocol}`;
        const scope = k.scope === 'SCOPE_EXTERNAL' ? ' for packets from outside' : '';
        if (!v) return `no service has ${to}${scope}`;
        const name = this.service(`${k.address}`, k.port as number, protocol);
        const sticky =
          (v.affinity_seconds as number) > 0 ? `, affinity of ${v.affinity_seconds} s` : '';
        const run =
          v.slot_count === 0
            ? 'no endpoints'
            : `${v.slot_count} ${v.slot_count === 1 ? 'slot' : 'slots'} (the first is ${v.first_slot}), ${algorithms[`${v.algorithm}`] ?? v.algorithm}${sticky}`;
        const tunnel = `${v.flags}`.includes('SERVICE_DSR') ? ', tunnels to other nodes' : '';
        return `${to} is a port of service ${name ?? v.id}${scope}: ${run}${tunnel}`;
      }
      case 'addresses':
        return value === undefined
          ? `${k.address} is neither a service's address nor known otherwise`
          : `${k.address} is known as ${roles(`${value}`)}`;
      case 'slots':
        return value === undefined
          ? `there is no slot ${key}`
          : `slot ${key} holds backend ${value}`;
      case 'backends':
        if (!v || key === 0) return undefined;
        return `backend ${key} is ${formatEndpoint(`${v.address}`, v.port as number)}, ${state(v.state)}`;
      case 'affinity':
        if (action === 'update')
          return `the choice is remembered for this client: backend ${v?.backend}`;
        return v
          ? `this client had backend ${v.backend} of service ${k.service}, ${this.#ago(v.last_used)}`
          : 'this client has no backend of the service yet';
      case 'refusals':
        return `refused: ${this.reason('refusal_reason', key as number).text}`;
      case 'drops':
        return `counted as ${this.reason('drop_reason', key as number).text}`;
      case 'source_ranges':
        return `${formatEndpoint(`${k.frontend}`, k.port as number)} ${value === 'RANGE_ALLOWED' ? 'serves' : 'does not serve'} the client ${k.client} (loadBalancerSourceRanges)`;
      case 'node_devices':
        return `${this.#device(key as number)} ${v || value !== undefined ? 'leads out of the node' : 'does not lead out of the node'}`;
      case 'nat_index':
        return v && keysOfBucket(v.slots as readonly string[]);
      case 'nat_flows':
        return v && v.state_word !== 0 ? `flow ${key} ${this.#flow(v)}` : undefined;
      case 'nat_sources':
        return v && key !== 0
          ? `${v.address} is this node’s for others (address ${key})`
          : undefined;
      case 'nat_table':
        return v && `the flow table has ${v.used} flows, ${v.unconfirmed} of them unconfirmed`;
      case 'tunnel_backends':
        return value === undefined
          ? `which backend of service ${k.service} is ${k.address} is to be searched`
          : `${k.address} is backend ${value} of service ${k.service}`;
      case 'narrow_paths':
        return value === undefined
          ? undefined
          : `a tunnel from ${k.client} to ${k.backend} was too narrow for what every host may send`;
      case 'stack_answers':
        return value === undefined
          ? 'the node’s stack has sent nothing that this could answer'
          : 'it answers what the node’s stack sent, or a pod that it masquerades';
      case 'fragments':
        return value === undefined
          ? 'the first fragment of the packet was not seen'
          : `the fragment's ports are ${v?.source_port} and ${v?.destination_port}`;
      default:
        return undefined;
    }
  }

  #flow(flow: DecodedFields): string {
    const from = formatEndpoint(`${flow.client}`, flow.client_port as number);
    const to = formatEndpoint(`${flow.frontend}`, flow.frontend_port as number);
    const by = formatEndpoint(`${flow.backend}`, flow.backend_port as number);
    const number = ((flow.state_word as number) >>> 16) & 0xf;
    const type = this.#btf.byName('ct_state', 'enum');
    const known =
      type?.kind === 'enum' ? type.values.find(({ value }) => Number(value) === number) : undefined;
    const [, protocol, ...state] = known?.name.split('_') ?? ['', 'state', `${number}`];
    const tunnel = (flow.state_word as number) >>> 31 === 1 ? ', in a tunnel to its node' : '';
    return `is ${from} to ${to} at ${by}${tunnel}, ${[protocol, state.join(' ').toLowerCase()].join(' ').trim()}`;
  }

  #ago(lastUsed: Decoded | undefined): string {
    const seconds = Number(this.#dump.head.monotonicNs - BigInt(`${lastUsed}`)) / 1e9;
    return `${Math.max(0, Math.round(seconds))} s ago`;
  }
}

function roles(text: string): string {
  const names: Readonly<Record<string, string>> = {
    ADDRESS_SERVICE: "a service's address",
    ADDRESS_UDP_BACKEND: 'a backend of a UDP service',
    ADDRESS_NODE: "this node's own address",
    ADDRESS_EXTERNAL: "a service's external address",
    ADDRESS_PEER: "another node's address",
  };
  return text
    .split(' | ')
    .map((name) => names[name] ?? name)
    .join(' and ');
}

const state = (value: Decoded | undefined) => `${value}`.replace('BACKEND_', '').toLowerCase();

const fieldsOf = (value: Decoded): DecodedFields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as DecodedFields)
    : {};

/** `socket.bpf.c:123: return x;` */
export function placeText({ file, line, text }: SourceLine): string {
  return `${file.slice(file.lastIndexOf('/') + 1)}:${line}: ${text.trim()}`;
}

function serviceNames({ answers }: Dump): Map<string, string> {
  const names = new Map<string, string>();
  if ('missing' in answers) return names;
  for (const { namespace, name, protocol, frontends } of answers.services) {
    for (const { address, port } of frontends) {
      names.set(`${protocol} ${address} ${port}`, `${namespace}/${name}`);
    }
  }
  return names;
}

/** Of struct ct_bucket: the flows whose keys have the hash that was looked for. */
function keysOfBucket(slots: readonly (string | number)[]): string {
  const flows = slots.flatMap((slot) => {
    const reference = Number(BigInt(slot) & 0xffff_ffffn);
    if (reference === 0) return [];
    return `flow ${reference >>> 1}${reference & 1 ? ', as a reply' : ''}`;
  });
  return flows.length === 0
    ? 'it belongs to no flow'
    : `it may belong to ${flows.join(', or to ')}`;
}
