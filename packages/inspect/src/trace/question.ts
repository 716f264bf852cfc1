import type { PodEntry } from '@heddle/agent';
import { exitCodes, Failure } from '@heddle/control/failure';
import type { FlowEntry } from '@heddle/datapath';
import { formatEndpoint, formatIp, parseIp } from '@heddle/sys';
import type { Dump, DumpedNamespace } from '../dump/dump.ts';
import { flowsOf } from '../dump/flows.ts';
import type { Asked, IcmpErrorKind, TcpFlag, TracePlace, TraceProtocol } from './asked.ts';

/** The same with everything found. */
export interface Question {
  /** Address of who asks. */
  readonly source: string;
  /** Its network namespace; absent: it is not on this node. */
  readonly namespace?: DumpedNamespace;
  readonly address: string;
  /** 0 for ICMP. */
  readonly port: number;
  readonly protocol: TraceProtocol;
  readonly at: TracePlace;
  readonly sourcePort: number;
  readonly flags?: readonly TcpFlag[];
  /** The flow that the packet goes on with. */
  readonly flow?: FlowEntry;
  readonly reply: boolean;
  readonly error?: IcmpErrorKind;
}

/** Finds who and what is meant. Throws Failure, which says what there is. */
export function understand(dump: Dump, asked: Asked): Question {
  const { port = 0, protocol, flags, error, reply = false } = asked;
  const wrong = contradiction(asked);
  if (wrong !== undefined) throw new Failure(exitCodes.usage, `trace: ${wrong}`);
  const address = destination(dump, asked, port);
  const isV4 = !address.includes(':');
  const { namespace, source } = origin(dump, asked, isV4);
  const at = asked.at ?? usualPlace(asked, namespace);
  if (at !== 'node' && !namespace) {
    throw new Failure(
      exitCodes.failed,
      `trace from ${asked.from}: no network namespace of this node has that address, so no socket of it is here (leave --at away, or run it on that node)`,
    );
  }
  const found = { source, address, port, protocol };
  const flow = asked.flow ? existing(dump, found, asked.sourcePort) : undefined;
  return {
    ...{ ...found, at, reply },
    sourcePort: flow?.clientPort ?? asked.sourcePort ?? clientPort,
    ...(namespace ? { namespace } : {}),
    ...(flow ? { flow } : {}),
    ...(flags ? { flags } : {}),
    ...(error ? { error } : {}),
  };
}

/** A port that clients choose from themselves (RFC 6335, 6). */
const clientPort = 50_123;

/** What of a question does not go together. */
function contradiction({ port, protocol, at, flags, flow, reply, error }: Asked) {
  const isOfPacket = flow || error !== undefined;
  if (protocol === 'icmp') {
    if (isOfPacket || reply) {
      return 'of icmp only the echo request is traced (for an ICMP error about a connection, name its protocol and --error)';
    }
  } else if (port === undefined) {
    return `a connection of ${protocol} has a port (name it with --port)`;
  }
  if (flags && protocol !== 'tcp') return 'only tcp has flags';
  if (flags && error !== undefined) return 'an ICMP error has no flags (leave one of the two away)';
  if (at === 'socket' && (isOfPacket || flags)) {
    return 'flags, flows and errors are those of packets (leave --at socket away)';
  }
  if (at === 'pod' && (isOfPacket || reply)) {
    return 'the node has flows with clients outside only (leave --at pod away)';
  }
  return undefined;
}

/** Sockets of SCTP and those that ping have no hooks, so it begins with the packet. */
function usualPlace(
  { protocol, flow, error, flags }: Asked,
  namespace: DumpedNamespace | undefined,
): TracePlace {
  if (!namespace || flow || error !== undefined || flags) return 'node';
  return protocol === 'tcp' || protocol === 'udp' ? 'socket' : 'pod';
}

/** The flow of a client, that with its port or the one that was used last. */
function existing(
  dump: Dump,
  { source, address, port, protocol }: Pick<Question, 'source' | 'address' | 'port' | 'protocol'>,
  sourcePort: number | undefined,
): FlowEntry {
  const flows = flowsOf(dump).filter(
    (flow) =>
      flow.client === source &&
      flow.frontend === address &&
      flow.frontendPort === port &&
      flow.protocol === protocol.toUpperCase() &&
      (sourcePort === undefined || flow.clientPort === sourcePort),
  );
  const [found] = flows.sort((a, b) => a.idleSeconds - b.idleSeconds);
  if (found) return found;
  const from = sourcePort === undefined ? source : formatEndpoint(source, sourcePort);
  throw new Failure(
    exitCodes.failed,
    `trace from ${from}: the node has no flow of it to ${formatEndpoint(address, port)}, ${protocol.toUpperCase()} (heddle flow list shows those there are)`,
  );
}

function origin(
  { namespaces, answers }: Dump,
  { from, at }: Asked,
  isV4: boolean,
): { source: string; namespace?: DumpedNamespace } {
  const parsed = parseIp(from);
  const address = parsed && formatIp(parsed);
  if (address !== undefined && address.includes(':') === isV4) {
    throw new Failure(
      exitCodes.failed,
      `trace from ${from}: the destination is of the other family`,
    );
  }
  const all = address === undefined ? named(namespaces, from) : withAddress(namespaces, address);
  // A pod without a process that can be seen is known by its link to the node; any other address is external.
  const served = all.filter(
    ({ isServed, isNode, isAttached }) => isNode || (isServed ?? isAttached ?? false),
  );
  const isOutside = address !== undefined && at !== 'socket' && at !== 'pod';
  const candidates = served.length > 0 || isOutside ? served : all;
  if (candidates.length > 1) {
    const which = candidates.map((each) => each.addresses[0] ?? `inode ${each.inode}`).join(', ');
    throw new Failure(
      exitCodes.failed,
      `trace from ${from}: ${candidates.length} network namespaces are known as that: ${which} (name the address)`,
    );
  }
  const [namespace] = candidates;
  if (!namespace && address === undefined) {
    const known = [...new Set(namespaces.flatMap(({ names }) => names))].sort();
    throw new Failure(
      exitCodes.failed,
      `trace from ${from}: no pod of that name is on this node, and this node has another name (there are ${known.slice(0, 20).join(', ') || 'none'}; or name an IP address)`,
    );
  }
  const pod = 'missing' in answers ? undefined : podWith(answers.pods, address);
  if (!namespace && pod && at !== 'node') {
    throw new Failure(
      exitCodes.failed,
      `trace from ${from}: it is the address of pod ${pod.namespace}/${pod.name} of this node, whose network namespace can't be seen from here (run heddle trace on the node itself, or say --at node for a packet with that source that enters from outside)`,
    );
  }
  const own = namespace?.addresses.find((each) => each.includes(':') !== isV4);
  const source = address ?? own;
  if (source === undefined) {
    throw new Failure(
      exitCodes.failed,
      `trace from ${from}: it has no ${isV4 ? 'IPv4' : 'IPv6'} address`,
    );
  }
  return { source, ...(namespace ? { namespace } : {}) };
}

/** Network namespaces that `from` names: a pod as NAMESPACE/NAME or NAME, the node, or the name of a mount. */
function named(namespaces: readonly DumpedNamespace[], from: string): readonly DumpedNamespace[] {
  const exact = namespaces.filter(({ names }) => names.includes(from));
  if (exact.length > 0) return exact;
  const name = from.slice(from.lastIndexOf('/') + 1);
  // If the namespace of the pod is known, it is another one.
  return namespaces.filter(
    ({ names }) => names.includes(name) && !names.some((each) => each.endsWith(`/${name}`)),
  );
}

function withAddress(namespaces: readonly DumpedNamespace[], address: string) {
  return namespaces.filter(({ addresses }) => addresses.includes(address));
}

function podWith(pods: readonly PodEntry[], address: string | undefined): PodEntry | undefined {
  return pods.find(({ addresses }) => address !== undefined && addresses.includes(address));
}

/** The address that is meant: of a service the one that has the port, else its first. */
function destination({ answers }: Dump, { from, to, protocol, at }: Asked, port: number): string {
  const parsed = parseIp(to);
  if (parsed) return formatIp(parsed);
  if ('missing' in answers) {
    throw new Failure(
      exitCodes.failed,
      `trace to ${to}: services are known by name only with an agent (${answers.missing}); name an IP address`,
    );
  }
  const service = to.includes('/') ? to : `default/${to}`;
  const rows = answers.services.filter(
    ({ namespace, name, frontends }) => `${namespace}/${name}` === service && frontends.length > 0,
  );
  const fromBytes = parseIp(from);
  const family = fromBytes ? (formatIp(fromBytes).includes(':') ? 'v6' : 'v4') : undefined;
  const all = rows
    .flatMap((row) => row.frontends.map((frontend) => ({ ...frontend, protocol: row.protocol })))
    .filter(({ address }) => family === undefined || address.includes(':') === (family === 'v6'));
  const score = (each: (typeof all)[number]) =>
    (each.port === port ? 8 : 0) +
    (each.protocol.toLowerCase() === protocol ? 4 : 0) +
    ((each.kind === 'ClusterIP') === (at !== 'node') ? 2 : 0) +
    (each.address.includes(':') ? 0 : 1);
  const best = all.reduce<(typeof all)[number] | undefined>(
    (found, each) => (found && score(found) >= score(each) ? found : each),
    undefined,
  );
  if (!best) {
    throw new Failure(
      exitCodes.failed,
      `trace to ${to}: the agent has no address of a service ${service}${family ? ' of this family' : ''} (heddle service list shows those there are)`,
    );
  }
  return best.address;
}
