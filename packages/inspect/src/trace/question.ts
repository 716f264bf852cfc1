import type { PodEntry } from '@heddle/agent';
import { exitCodes, Failure } from '@heddle/control/failure';
import type { FlowEntry } from '@heddle/datapath';
import { formatEndpoint, formatIp, parseIp } from '@heddle/sys';
import { type Dump, type DumpedNamespace, listOf } from '../dump/dump.ts';
import { flowsOf } from '../dump/flows.ts';
import { PodNetwork, type TracedPod } from './pods.ts';
import type { IcmpErrorKind, TcpFlag, TraceProtocol, TraceRequest, TraceStart } from './request.ts';

/** A question whose names are resolved to addresses, namespaces and flows. */
export interface Question {
  /** The address of the client. */
  readonly source: string;
  /** The client's network namespace; absent when it is not on this node. */
  readonly namespace?: DumpedNamespace;
  /** The pod that sends the packet, where Heddle is the network of pods. */
  readonly pod?: TracedPod;
  readonly address: string;
  /** 0 for ICMP. */
  readonly port: number;
  readonly protocol: TraceProtocol;
  readonly at: TraceStart;
  readonly sourcePort: number;
  readonly flags?: readonly TcpFlag[];
  /** The flow that the packet belongs to. */
  readonly flow?: FlowEntry;
  readonly reply: boolean;
  readonly error?: IcmpErrorKind;
}

/** Resolves a question. Throws Failure, which lists what there is. */
export function resolveRequest(dump: Dump, request: TraceRequest): Question {
  const { port = 0, protocol, flags, error, reply = false } = request;
  const pods = new PodNetwork(dump);
  const wrong = contradiction(request, pods);
  if (wrong !== undefined) throw new Failure(exitCodes.usage, `trace: ${wrong}`);
  const address = destination(dump, request, port);
  const isV4 = !address.includes(':');
  const { namespace, source: own, pod } = origin(dump, request, isV4);
  const at =
    request.at ?? (request.spoof === undefined ? defaultStart(request, namespace, pod) : 'pod');
  const isFromNode = at === 'node' || at === 'tunnel' || (at === 'pod' && pod);
  if (!isFromNode && !namespace) {
    throw new Failure(
      exitCodes.failed,
      `trace from ${request.from}: no network namespace of this node has that address, so no socket of it is here (omit --at, or run the command on that node)`,
    );
  }
  if (at === 'tunnel' && !pods.tunnel) {
    throw new Failure(exitCodes.failed, 'trace: no tunnels lead from this node (omit --at tunnel)');
  }
  const source = sourceOf(request, own, isV4);
  const found = { source, address, port, protocol };
  const flow = request.flow ? findFlow(dump, found, request.sourcePort) : undefined;
  return {
    ...{ ...found, at, reply },
    sourcePort: flow?.clientPort ?? request.sourcePort ?? clientPort,
    ...(namespace ? { namespace } : {}),
    ...(pod && at === 'pod' ? { pod } : {}),
    ...(flow ? { flow } : {}),
    ...(flags ? { flags } : {}),
    ...(error ? { error } : {}),
  };
}

/** An ephemeral port (RFC 6335, section 6). */
const clientPort = 50_123;

/** Returns the source address of the packet: the sender's own, or a forged one. */
function sourceOf({ spoof }: TraceRequest, own: string, isV4: boolean): string {
  if (spoof === undefined) return own;
  const parsed = parseIp(spoof);
  const address = parsed && formatIp(parsed);
  if (address !== undefined && address.includes(':') !== isV4) return address;
  throw new Failure(
    exitCodes.usage,
    `trace with source ${spoof}: it is no ${isV4 ? 'IPv4' : 'IPv6'} address`,
  );
}

/** Returns a sentence if arguments of the request contradict each other. */
function contradiction(
  { port, protocol, at, flags, flow, reply, error, spoof }: TraceRequest,
  pods: PodNetwork,
) {
  const isOfPacket = flow || error !== undefined;
  if (protocol === 'icmp') {
    if (isOfPacket || reply) {
      return 'for icmp only an echo request is traced (for an ICMP error about a connection, give its protocol and --error)';
    }
  } else if (port === undefined) {
    return `a connection of ${protocol} has a port (give it with --port)`;
  }
  if (flags && protocol !== 'tcp') return 'only tcp has flags';
  if (flags && error !== undefined) return 'an ICMP error has no flags (omit one of the two)';
  if (at === 'socket' && (isOfPacket || flags)) {
    return 'flags, flows and errors belong to packets (omit --at socket)';
  }
  if (spoof !== undefined && (!pods.exists || (at !== undefined && at !== 'pod'))) {
    return 'a forged source is checked at the interfaces of pods, where Heddle is their network (omit --spoof)';
  }
  if (at === 'pod' && !pods.exists && (isOfPacket || reply)) {
    return 'the node has flows of external clients only (omit --at pod)';
  }
  return undefined;
}

/** Returns where a trace starts by default. Sockets of SCTP and ping have no hooks, so it starts with the packet. */
function defaultStart(
  { protocol, flow, error, flags }: TraceRequest,
  namespace: DumpedNamespace | undefined,
  pod: TracedPod | undefined,
): TraceStart {
  if (pod && !namespace) return 'pod';
  if (!namespace || flow || error !== undefined || flags) return 'node';
  return protocol === 'tcp' || protocol === 'udp' ? 'socket' : 'pod';
}

/** Returns the flow of a client: the one with its port, or the one that was used last. */
function findFlow(
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
    `trace from ${from}: the node has no flow from it to ${formatEndpoint(address, port)}, ${protocol.toUpperCase()} (heddle flow list lists them)`,
  );
}

function origin(
  dump: Dump,
  { from, at }: TraceRequest,
  isV4: boolean,
): { source: string; namespace?: DumpedNamespace; pod?: TracedPod } {
  const { namespaces, answers } = dump;
  const pods = new PodNetwork(dump);
  const parsed = parseIp(from);
  const address = parsed && formatIp(parsed);
  if (address !== undefined && address.includes(':') === isV4) {
    throw new Failure(
      exitCodes.failed,
      `trace from ${from}: the destination has the other address family`,
    );
  }
  const all =
    address === undefined ? namespacesNamed(namespaces, from) : withAddress(namespaces, address);
  // A pod whose processes can't be seen is recognised by its link to the node; any other address is
  // external.
  const served = all.filter(
    ({ isServed, isNode, isAttached }) => isNode || (isServed ?? isAttached ?? false),
  );
  const isOutside = address !== undefined && at !== 'socket' && at !== 'pod';
  const candidates = served.length > 0 || isOutside ? served : all;
  if (candidates.length > 1) {
    const which = candidates.map((each) => each.addresses[0] ?? `inode ${each.inode}`).join(', ');
    throw new Failure(
      exitCodes.failed,
      `trace from ${from}: ${candidates.length} network namespaces have that name: ${which} (give the address)`,
    );
  }
  const [namespace] = candidates;
  const near = address === undefined ? namespace?.addresses : [address];
  const sender =
    near?.map((each) => pods.withAddress(each)).find((each) => each) ??
    (address === undefined && !namespace ? pods.named(from) : undefined);
  if (!namespace && !sender && address === undefined) {
    const known = [...new Set(namespaces.flatMap(({ names }) => names))].sort();
    throw new Failure(
      exitCodes.failed,
      `trace from ${from}: neither a pod of this node nor the node has that name (there are ${known.slice(0, 20).join(', ') || 'none'}; or give an IP address)`,
    );
  }
  const pod = 'missing' in answers ? undefined : podWith(listOf(answers, 'pod.list'), address);
  if (!namespace && !sender && pod && at !== 'node') {
    throw new Failure(
      exitCodes.failed,
      `trace from ${from}: it is the address of pod ${pod.namespace}/${pod.name} of this node, whose network namespace can't be seen from here (run heddle trace on the node itself, or give --at node for an external packet with that source)`,
    );
  }
  const addresses = [...(namespace?.addresses ?? []), ...(sender?.addresses ?? [])];
  const own = addresses.find((each) => each.includes(':') !== isV4);
  const source = address ?? own;
  if (source === undefined) {
    throw new Failure(
      exitCodes.failed,
      `trace from ${from}: it has no ${isV4 ? 'IPv4' : 'IPv6'} address`,
    );
  }
  return { source, ...(namespace ? { namespace } : {}), ...(sender ? { pod: sender } : {}) };
}

/** Returns the network namespaces with a name: a pod as NAMESPACE/NAME or NAME, the node, or the name of a mount. */
function namespacesNamed(
  namespaces: readonly DumpedNamespace[],
  from: string,
): readonly DumpedNamespace[] {
  const exact = namespaces.filter(({ names }) => names.includes(from));
  if (exact.length > 0) return exact;
  const name = from.slice(from.lastIndexOf('/') + 1);
  // A name with a known namespace belongs to another pod.
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

/** Returns the destination address: for a service, that of a frontend with the port, else of the first frontend. */
function destination(
  { answers }: Dump,
  { from, to, protocol, at }: TraceRequest,
  port: number,
): string {
  const parsed = parseIp(to);
  if (parsed) return formatIp(parsed);
  if ('missing' in answers) {
    throw new Failure(
      exitCodes.failed,
      `trace to ${to}: service names are known only with an agent (${answers.missing}); give an IP address`,
    );
  }
  const service = to.includes('/') ? to : `default/${to}`;
  const rows = listOf(answers, 'service.list').filter(
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
      `trace to ${to}: the agent has no address of a service ${service}${family ? ' in this address family' : ''} (heddle service list lists services)`,
    );
  }
  return best.address;
}
