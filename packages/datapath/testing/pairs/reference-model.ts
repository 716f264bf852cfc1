import {
  conditionsOf,
  endpointsOf,
  type FrontendKind,
  hintsOf,
  hostPortPod,
  isHere,
  type Options,
  type PodName,
} from './options.ts';

// The promises of Kubernetes are read from its documentation and enhancement proposals, not from Heddle's model:
// kubernetes.io, Services ("Virtual IPs and service proxies", "Traffic policies"), KEP-1669 (terminating
// endpoints), KEP-1860 (ipMode), KEP-2086 (internalTrafficPolicy), KEP-2433, KEP-3015 and KEP-4444 (topology),
// API reference of ServiceSpec (externalIPs, loadBalancerSourceRanges, externalTrafficPolicy).

/** A client, and the place where the node sees its packet or call. */
export interface Client {
  readonly name: string;
  /** `external`: enters the node, also a pod of another node. `pod`, `node`: on this node. */
  readonly from: 'external' | 'pod' | 'node';
  readonly at: 'node interface' | 'pod interface' | 'socket';
  /** The source ranges, of those tried, that have its address. */
  readonly ranges: readonly string[];
  /** The pod of the service that it is, if it is one. */
  readonly self?: PodName;
}

/** The source that the backend sees: the client, or the node. */
export type Source = 'client' | 'node';

export type Expected =
  /** Nothing of Kubernetes is there: the packet is left alone. */
  | { readonly outcome: 'untouched' | 'refused' | 'dropped' }
  /** `source` by the pod that is chosen; `tunnelled`: in a tunnel to the pod's node. */
  | {
      readonly outcome: 'served';
      readonly by: readonly PodName[];
      readonly source: (pod: PodName) => readonly (Source | 'tunnelled')[];
    };

export function expectedFor(options: Options, client: Client, kind: FrontendKind): Expected {
  if (isHostPort(options, kind)) {
    // A connection of the pod to itself needs another source at its interface.
    const isHairpin = client.self === hostPortPod && client.at === 'pod interface';
    return { outcome: 'served', by: [hostPortPod], source: () => [isHairpin ? 'node' : 'client'] };
  }
  if (!hasFrontend(options, kind)) return { outcome: 'untouched' };
  if (kind === 'LoadBalancer' && isOutOfRange(options, client)) return { outcome: 'dropped' };
  const entersFromOutside = client.from === 'external';
  const policy =
    kind === 'ClusterIP'
      ? options.internalTrafficPolicy
      : entersFromOutside
        ? options.externalTrafficPolicy
        : 'Cluster';
  const by = policy === 'Local' ? endpointsHere(options) : endpointsForNode(options);
  if (by.length === 0) {
    const areElsewhere = policy === 'Local' && endpointsForNode(options).length > 0;
    // An external packet is dropped, so that a load balancer tries another node. Inside Heddle refuses at
    // once where kube-proxy drops; docs/migration.md names the difference.
    return { outcome: areElsewhere && kind !== 'ClusterIP' ? 'dropped' : 'refused' };
  }
  return { outcome: 'served', by, source: (pod) => sourcesAt(options, client, kind, pod) };
}

function isHostPort({ hostPort }: Options, kind: FrontendKind): boolean {
  if (kind === 'HostPort') return hostPort === 'own';
  // The pod is older than the service, and has the number first.
  return (kind === 'NodePort' || kind === 'loopback') && hostPort === 'the NodePort';
}

function hasFrontend({ type, ipMode, externalIPs }: Options, kind: FrontendKind): boolean {
  switch (kind) {
    case 'ClusterIP':
      return true;
    case 'NodePort':
    case 'loopback':
      return type !== 'ClusterIP';
    case 'LoadBalancer':
      return type === 'LoadBalancer' && ipMode !== 'Proxy';
    case 'ExternalIP':
      return externalIPs;
    default:
      return false;
  }
}

function isOutOfRange({ ranges, sourceRanges }: Options, client: Client): boolean {
  if (ranges === undefined || client.ranges.includes(ranges)) return false;
  return client.from === 'external' || sourceRanges === 'everywhere';
}

/** Endpoints that policy Local may use: the ready ones here, else those that end and still serve. */
function endpointsHere(options: Options): readonly PodName[] {
  const here = endpointsOf(options).filter(isHere);
  const ready = here.filter((name) => conditionsOf(name, options).ready);
  return ready.length > 0 ? ready : here.filter((name) => endsButServes(name, options));
}

/** Endpoints that policy Cluster may use on this node, which is `here` in `zone-a`. */
function endpointsForNode(options: Options): readonly PodName[] {
  const all = endpointsOf(options);
  const ready = all.filter((name) => conditionsOf(name, options).ready);
  if (ready.length === 0) return all.filter((name) => endsButServes(name, options));
  for (const [hint, own] of [
    ['nodes', 'here'],
    ['zones', 'zone-a'],
  ] as const) {
    // Hints count if every endpoint has one, and one at least is for this node.
    if (!ready.every((name) => hintsOf(name, options)[hint])) continue;
    const near = ready.filter((name) => hintsOf(name, options)[hint]!.includes(own));
    if (near.length > 0) return near;
  }
  return ready;
}

function endsButServes(name: PodName, options: Options): boolean {
  const { serving, terminating } = conditionsOf(name, options);
  return serving && terminating;
}

/**
 * The client's address is kept wherever the answer comes back to this node anyway. Kubernetes promises it for
 * externalTrafficPolicy Local only; masquerading otherwise is a choice of the implementation.
 */
function sourcesAt(
  { forwarding, protocol }: Options,
  { at, self }: Client,
  kind: FrontendKind,
  pod: PodName,
): readonly (Source | 'tunnelled')[] {
  if (at === 'socket') return ['client'];
  if (at === 'pod interface') return [pod === self ? 'node' : 'client'];
  if (isHere(pod)) return ['client'];
  const tunnels = forwarding === 'dsr' || (forwarding === 'hybrid' && protocol === 'TCP');
  // A tunnel would give a pod its own packet back.
  if (pod === self) return ['node'];
  // Kubernetes does not say what external clients find at a ClusterIP. A pod of another node gets no tunnel where
  // the node's routes show that it is behind a node, as they do in the kernel.
  if (kind === 'ClusterIP' || (tunnels && self)) return ['node', 'tunnelled'];
  return [tunnels ? 'tunnelled' : 'node'];
}
