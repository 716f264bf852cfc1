// Computes the expected contents of the kernel's maps for a set of Kubernetes objects. It is a
// simple, slow reference for the service model, with which it shares no code: no increments, no
// records, no rows. It supports only the objects that object-maker.ts makes.
import { formatEndpoint } from '@heddle/sys';
import type {
  Endpoint,
  Manifest,
  NodeManifest,
  PodManifest,
  Service,
  Slice,
} from './object-maker.ts';

export interface ReferenceContext {
  readonly nodeName: string;
  /** The addresses of the node's network interfaces. */
  readonly deviceAddresses: readonly string[];
}

/** Frontends that share a set of backends. */
interface Group {
  /** The service, or undefined for a pod's hostPort. */
  readonly service: Service | undefined;
  readonly protocol: string;
  frontends: { kind: 'service' | 'external' | 'node'; address: string; port: number }[];
  readonly backends: { address: string; port: number; active: boolean; weight: number }[];
  /** `outside`: only for external packets; `silent`: drops them without backends. */
  readonly only: '' | ' outside' | ' outside silent';
}

const seconds = (service: Service | undefined) =>
  service?.spec.sessionAffinity === 'ClientIP'
    ? (service.spec.sessionAffinityConfig?.clientIP.timeoutSeconds ?? 10800)
    : 0;
const algorithmNames: Readonly<Record<string, string>> = {
  random: 'random',
  weighted: 'random',
  'round-robin': 'roundRobin',
  'least-connections': 'leastConnections',
  maglev: 'hash',
};

/** Returns the lines of ProgrammedMaps when everything is programmed. */
export function expectedLines(
  objects: readonly Manifest[],
  { nodeName, deviceAddresses }: ReferenceContext,
): string[] {
  const services = objects.filter((each): each is Service => each.kind === 'Service');
  const slices = objects.filter((each): each is Slice => each.kind === 'EndpointSlice');
  const nodes = objects.filter((each): each is NodeManifest => each.kind === 'Node');
  const ownNode = nodes.find(({ metadata }) => metadata.name === nodeName);
  const own = new Set([...deviceAddresses, ...(ownNode ? nodeAddresses(ownNode) : [])]);
  const nodeIPs = new Set((ownNode ? nodeAddresses(ownNode) : []).filter(isUsual));
  const nodePortAddresses = nodeIPs.size > 0 ? [...nodeIPs] : [...own].filter(isUsual);
  const pods = objects.filter((each): each is PodManifest => each.kind === 'Pod');
  const zone = ownNode?.metadata.labels?.['topology.kubernetes.io/zone'] ?? '';

  // An externalIP must not be a ClusterIP or the address of a pod outside the host network.
  const taken = new Set<string>();
  for (const { endpoints } of slices)
    for (const { addresses } of endpoints) taken.add(addresses[0]!);
  for (const address of own) taken.delete(address);
  for (const node of nodes) for (const address of nodeAddresses(node)) taken.delete(address);
  for (const service of services) for (const address of clusterIPs(service)) taken.add(address);

  const groups: Group[] = [];
  // Owners are sorted by precedence, so the first one keeps a frontend.
  const given = new Map<string, Service | PodManifest>();
  const keeps = (owner: Service | PodManifest, protocol: string, address: string, port: number) => {
    const key = `${protocol} ${address} ${port}`;
    // One loopback address conflicts with another owner of all loopback addresses.
    const allLoopback = address === '::1' ? '::' : address.startsWith('127.') ? '0.0.0.0' : address;
    const holder = given.get(`${protocol} ${allLoopback} ${port}`) ?? owner;
    if (given.has(key) || (allLoopback !== address && holder !== owner)) return false;
    given.set(key, owner);
    return true;
  };
  const owners = [
    ...services.filter(isServed),
    ...pods.filter(({ spec }) => spec.nodeName === nodeName),
  ];
  for (const service of owners.sort(bySeniority)) {
    if (service.kind === 'Pod') {
      groups.push(...podGroups(service, nodePortAddresses, own, keeps));
      continue;
    }
    for (const port of service.spec.ports) {
      for (const clusterIP of clusterIPs(service)) {
        const isV6 = clusterIP.includes(':');
        const ofFamily = (addresses: readonly string[]) =>
          addresses.filter((address) => address.includes(':') === isV6);
        const externalIPs = ofFamily(service.spec.externalIPs ?? []);
        const asked: Group['frontends'] = [
          ...[clusterIP].map((address) => ({
            kind: 'service' as const,
            address,
            port: port.port,
          })),
          ...ofFamily(ingress(service)).map((address) => ({
            kind: 'external' as const,
            address,
            port: port.port,
          })),
          ...externalIPs
            .filter((address) => !taken.has(address))
            .map((address) => ({ kind: 'external' as const, address, port: port.port })),
          ...(port.nodePort
            ? [...ofFamily(nodePortAddresses), isV6 ? '::' : '0.0.0.0'].map((address) => ({
                kind: 'node' as const,
                address,
                port: port.nodePort!,
              }))
            : []),
        ];
        const protocol = port.protocol ?? 'TCP';
        const candidates = endpointsOf(service, port.name ?? '', protocol, isV6, slices);
        const kept = asked.filter(({ address, port: number }) =>
          keeps(service, protocol, address, number),
        );
        const addGroup = (local: boolean, frontends: Group['frontends'], outside = false) => {
          const usable = new Set(usableOf(candidates, service, local, nodeName, zone));
          const backends = candidates
            .filter(
              (candidate) =>
                usable.has(candidate) ||
                protocol !== 'UDP' ||
                isServing(candidate.endpoint) ||
                // No endpoint serves, so there is no better one.
                !candidates.some((each) => isServing(each.endpoint)),
            )
            .map((candidate) => ({
              address: candidate.endpoint.addresses[0]!,
              port: candidate.port,
              active: usable.has(candidate),
              weight: weightOf(service, candidate.endpoint),
            }));
          const silent =
            usable.size === 0 && usableOf(candidates, service, false, nodeName, zone).length > 0;
          const only = outside ? (silent ? ' outside silent' : ' outside') : '';
          groups.push({ service, protocol, frontends, backends, only });
        };
        const others = kept.filter(({ kind }) => kind !== 'service');
        if (service.spec.internalTrafficPolicy === 'Local') {
          addGroup(
            true,
            kept.filter(({ kind }) => kind === 'service'),
          );
          const refused = externalIPs.some((address) => taken.has(address));
          if (others.length > 0 || refused) addGroup(false, others);
        } else {
          addGroup(false, kept);
        }
        const reachable = others.filter(({ address }) => address !== '0.0.0.0' && address !== '::');
        if (service.spec.externalTrafficPolicy === 'Local' && reachable.length > 0) {
          addGroup(true, reachable, true);
        }
      }
    }
  }
  return linesOf(groups, deviceAddresses);
}

/**
 * Returns the groups of a pod's hostPorts; only the first of equal number, hostIP and protocol
 * counts.
 */
function podGroups(
  pod: PodManifest,
  nodePortAddresses: readonly string[],
  own: ReadonlySet<string>,
  keeps: (owner: PodManifest, protocol: string, address: string, port: number) => boolean,
): Group[] {
  return pod.spec.containers.flatMap(({ ports }) =>
    ports.flatMap(({ containerPort, hostPort = 0, hostIP = '', protocol = 'TCP' }) =>
      pod.status.podIPs.flatMap(({ ip }): Group[] => {
        const isV6 = ip.includes(':');
        if (hostPort === 0 || (hostIP !== '' && hostIP.includes(':') !== isV6)) return [];
        const all = isV6 ? '::' : '0.0.0.0';
        const asked =
          hostIP === '' || hostIP === all
            ? [...nodePortAddresses.filter((each) => each.includes(':') === isV6), all]
            : [hostIP].filter((each) => own.has(each) || !isUsual(each));
        const kept = asked.filter((address) => keeps(pod, protocol, address, hostPort));
        const backend = { address: ip, port: containerPort, active: kept.length > 0, weight: 1 };
        return [
          {
            ...{ service: undefined, protocol, backends: [backend], only: '' },
            frontends: kept.map((address) => ({ kind: 'node', address, port: hostPort })),
          },
        ];
      }),
    ),
  );
}

/** Returns true if the address is neither loopback nor unspecified. */
function isUsual(address: string): boolean {
  return !address.startsWith('127.') && !['::1', '::', '0.0.0.0'].includes(address);
}

function linesOf(groups: readonly Group[], deviceAddresses: readonly string[]): string[] {
  const lines: string[] = [];
  const roles = new Map<string, Set<string>>();
  const addRole = (address: string, role: string) => {
    roles.set(address, (roles.get(address) ?? new Set()).add(role));
  };
  for (const address of deviceAddresses) addRole(address, 'node');
  for (const { service, protocol, frontends, backends, only } of groups) {
    const annotation = service?.metadata.annotations?.['heddle.io/algorithm'] ?? 'random';
    const algorithm = algorithmNames[annotation] ?? 'random';
    const active = backends.filter((each) => each.active);
    const divisor = active.reduce((sum, { weight }) => gcd(sum, weight), 0);
    const shown = backends.map(({ address, port, active: isActive, weight }) => {
      const name = formatEndpoint(address, port);
      const state = isActive ? 'active' : 'draining';
      lines.push(`backend ${name}/${protocol} ${state} weight ${weight}`);
      if (protocol === 'UDP') addRole(address, 'udpBackend');
      const share = annotation === 'weighted' ? weight / divisor : 1;
      if (algorithm === 'hash') return `${name} ${state} ${isActive ? 'some' : 'none'}`;
      return `${name} ${state} ${isActive ? share : 0}`;
    });
    for (const { kind, address, port } of frontends) {
      const name = `${formatEndpoint(address, port)}/${protocol}`;
      lines.push(
        `frontend ${name}${only} ${algorithm} affinity ${seconds(service)}: ${shown.sort().join(', ')}`,
      );
      if (isUsual(address)) addRole(address, kind);
    }
  }
  for (const [address, names] of roles)
    lines.push(`address ${address} ${[...names].sort().join(' ')}`);
  return lines.sort();
}

function isServed({ metadata, spec }: Service): boolean {
  return (
    metadata.labels?.['service.kubernetes.io/service-proxy-name'] === undefined &&
    spec.type !== 'ExternalName' &&
    spec.clusterIPs[0] !== 'None'
  );
}

function bySeniority(a: Service | PodManifest, b: Service | PodManifest): number {
  type Owner = Service | PodManifest;
  const created = ({ metadata }: Owner) =>
    `${'deletionTimestamp' in metadata ? 1 : 0} ${metadata.creationTimestamp ?? '9999'}`;
  const order = ({ metadata, kind }: Owner) => `${metadata.namespace} ${metadata.name} ${kind}`;
  if (created(a) !== created(b)) return created(a) < created(b) ? -1 : 1;
  return order(a) < order(b) ? -1 : 1;
}

function clusterIPs({ spec }: Service): readonly string[] {
  return spec.type === 'ExternalName' || spec.clusterIPs[0] === 'None' ? [] : spec.clusterIPs;
}

function ingress({ spec, status }: Service): string[] {
  if (spec.type !== 'LoadBalancer') return [];
  const entries = status?.loadBalancer?.ingress ?? [];
  return entries.filter(({ ipMode }) => ipMode !== 'Proxy').map(({ ip }) => ip);
}

function nodeAddresses({ status }: NodeManifest): string[] {
  return status.addresses.filter(({ type }) => type !== 'Hostname').map(({ address }) => address);
}

interface EndpointPort {
  readonly endpoint: Endpoint;
  readonly port: number;
}

function endpointsOf(
  service: Service,
  portName: string,
  protocol: string,
  isV6: boolean,
  slices: readonly Slice[],
): EndpointPort[] {
  const found = new Map<string, EndpointPort>();
  const own = slices
    .filter(({ metadata }) => metadata.namespace === service.metadata.namespace)
    .filter(
      ({ metadata }) => metadata.labels['kubernetes.io/service-name'] === service.metadata.name,
    )
    .filter(({ addressType }) => (addressType === 'IPv6') === isV6)
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  for (const { ports, endpoints } of own) {
    for (const port of ports) {
      if ((port.name ?? '') !== portName || (port.protocol ?? 'TCP') !== protocol) continue;
      for (const endpoint of endpoints) {
        const key = `${endpoint.addresses[0]} ${port.port}`;
        const other = found.get(key);
        if (!other || rank(endpoint) > rank(other.endpoint)) {
          found.set(key, { endpoint, port: port.port });
        }
      }
    }
  }
  return [...found.values()];
}

const isReady = ({ conditions }: Endpoint) => conditions.ready ?? true;
const isServing = ({ conditions }: Endpoint) => conditions.serving ?? true;
const isTerminating = ({ conditions }: Endpoint) => conditions.terminating ?? false;

function rank(endpoint: Endpoint): number {
  return (
    (isReady(endpoint) ? 4 : 0) + (isServing(endpoint) ? 2 : 0) + (isTerminating(endpoint) ? 0 : 1)
  );
}

function usableOf(
  candidates: readonly EndpointPort[],
  service: Service,
  local: boolean,
  nodeName: string,
  zone: string,
): readonly EndpointPort[] {
  const reachable = candidates.filter(({ endpoint }) => !local || endpoint.nodeName === nodeName);
  const ready = reachable.filter(
    ({ endpoint }) => service.spec.publishNotReadyAddresses || isReady(endpoint),
  );
  if (ready.length === 0) {
    return reachable.filter(({ endpoint }) => isServing(endpoint) && isTerminating(endpoint));
  }
  if (local) return ready;
  const hintsOf = ({ endpoint: { hints } }: EndpointPort) => [
    (hints?.forNodes ?? []).map(({ name }) => name),
    (hints?.forZones ?? []).map(({ name }) => name),
  ];
  for (const [kind, name] of [nodeName, zone].entries()) {
    const here = ready.filter((each) => hintsOf(each)[kind]!.includes(name));
    if (ready.every((each) => hintsOf(each)[kind]!.length > 0) && here.length > 0) return here;
  }
  return ready;
}

function weightOf(service: Service, { addresses, targetRef }: Endpoint): number {
  const list = (service.metadata.annotations?.['heddle.io/weights'] ?? '').split(',');
  const weights = new Map(
    list.map((item) => [item.split('=')[0]!.trim(), Number(item.split('=')[1])]),
  );
  return weights.get(addresses[0]!) ?? weights.get(targetRef?.name ?? '-') ?? 1;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
