import { endpoint, node, pod, service, slice } from '@heddle/objects/testing/objects';
import type { CaseOf } from './covering.ts';

// Services with every combination of options, as objects of the API.

export const ends = ['v4', 'v6'] as const;
export type End = (typeof ends)[number];
export type Addresses = Readonly<Record<End, string>>;

/** The options that are combined, each with the values that are tried. */
export const factors = {
  sourceRanges: ['everywhere', 'external'],
  type: ['LoadBalancer', 'NodePort', 'ClusterIP'],
  protocol: ['TCP', 'UDP', 'SCTP'],
  families: ['dual', 'v4', 'v6'],
  externalTrafficPolicy: ['Cluster', 'Local'],
  internalTrafficPolicy: ['Cluster', 'Local'],
  /** The clients that loadBalancerSourceRanges allow. If undefined, the services have no source ranges. */
  ranges: [undefined, 'client', 'pod', 'node'],
  ipMode: [undefined, 'VIP', 'Proxy'],
  externalIPs: [false, true],
  affinity: [false, true],
  algorithm: ['random', 'round-robin', 'weighted', 'least-connections', 'maglev'],
  forwarding: ['snat', 'dsr', 'hybrid'],
  xdp: [false, true],
  hints: ['none', 'zone', 'node', 'another zone', 'not all'],
  endpoints: ['ready', 'ready there', 'terminating here', 'terminating', 'unready here', 'none'],
  /** The hostPort of a pod on this node: a port of its own, or the number of the service's NodePort. */
  hostPort: [undefined, 'own', 'the NodePort'],
  /** True when packets of pods are translated at pod interfaces too. */
  podDevices: [false, true],
} as const;

export type Options = CaseOf<typeof factors>;

/** The kinds of frontend that a service is reached at. */
export const frontendKinds = [
  'ClusterIP',
  'NodePort',
  'LoadBalancer',
  'ExternalIP',
  'HostPort',
  'loopback',
] as const;
export type FrontendKind = (typeof frontendKinds)[number];

export const ports = { service: 80, node: 30_080, host: 30_090, target: 8080 } as const;
export const clusterIP: Addresses = { v4: '10.96.0.10', v6: 'fd00:10:96::10' };
export const balancer: Addresses = { v4: '198.51.100.7', v6: 'fd00:198:51:100::7' };
export const external: Addresses = { v4: '198.51.100.8', v6: 'fd00:198:51:100::8' };
/** External clients; source ranges may have the first. */
export const clients = {
  first: { v4: '198.18.1.1', v6: 'fd00:198:18:1::1' },
  second: { v4: '198.18.2.2', v6: 'fd00:198:18:2::2' },
} as const;

/** The pods of the service: two on this node, two on another one. */
export const podNames = ['here-0', 'here-1', 'there-0', 'there-1'] as const;
export type PodName = (typeof podNames)[number];
export const isHere = (name: PodName) => name.startsWith('here');
/** The pod that has the hostPort. */
export const hostPortPod: PodName = 'here-1';

export interface Site {
  readonly here: Addresses;
  readonly there: Addresses;
  readonly pods: Readonly<Record<PodName, Addresses>>;
}

export const endsOf = ({ families }: Options): readonly End[] =>
  families === 'dual' ? ends : [families];

const rangesOf = ({ here, pods }: Site): Readonly<Record<string, readonly string[]>> => ({
  client: ['198.18.1.0/24', 'fd00:198:18:1::/64'],
  pod: [`${pods['here-0'].v4}/32`, `${pods['here-0'].v6}/128`],
  node: [`${here.v4}/32`, `${here.v6}/128`],
});

/** Returns the nodes, which stay as they are. */
export const nodeObjects = ({ here, there }: Site) => [
  node('here', [here.v4, here.v6], 'zone-a'),
  node('there', [there.v4, there.v6], 'zone-b'),
];

/** Returns the Service, its EndpointSlices and the pod with the hostPort. */
export function objectsOf(options: Options, site: Site): object[] {
  const { type, protocol, ranges, ipMode, algorithm, hostPort } = options;
  const inUse = endsOf(options);
  const isBalanced = type === 'LoadBalancer';
  const isExternal = type !== 'ClusterIP' || options.externalIPs;
  const port = {
    ...{ name: 'main', port: ports.service, targetPort: ports.target, protocol },
    ...(type === 'ClusterIP' ? {} : { nodePort: ports.node }),
  };
  const web = service(
    'web',
    inUse.map((end) => clusterIP[end]),
    {
      ...{ type, ports: [port], created: '2026-11-30T12:00:00Z' },
      annotations: {
        'heddle.io/algorithm': algorithm,
        'heddle.io/forwarding': options.forwarding,
        ...(algorithm === 'weighted' ? { 'heddle.io/weights': 'here-0=3,there-1=2' } : {}),
      },
      internalTrafficPolicy: options.internalTrafficPolicy,
      ...(isExternal ? { externalTrafficPolicy: options.externalTrafficPolicy } : {}),
      sessionAffinity: options.affinity ? 'ClientIP' : 'None',
      ...(options.externalIPs ? { externalIPs: inUse.map((end) => external[end]) } : {}),
      ...(isBalanced && ranges ? { loadBalancerSourceRanges: rangesOf(site)[ranges] } : {}),
      ...(isBalanced
        ? { ingress: inUse.map((end) => ({ ip: balancer[end], ...(ipMode ? { ipMode } : {}) })) }
        : {}),
    },
  );
  const slices = inUse.map((end) =>
    slice(
      'web',
      endpointsOf(options).map((name) =>
        endpoint(site.pods[name][end], {
          ...{ node: isHere(name) ? 'here' : 'there', pod: name },
          ...conditionsOf(name, options),
          ...hintsOf(name, options),
        }),
      ),
      {
        name: `web-${end}`,
        addressType: end === 'v4' ? 'IPv4' : 'IPv6',
        ports: [{ name: 'main', port: ports.target, protocol }],
      },
    ),
  );
  const { v4, v6 } = site.pods[hostPortPod];
  const taken = hostPort === 'own' ? ports.host : ports.node;
  const guest = pod('guest', [v4, v6], {
    ...{ node: 'here', created: '2026-11-30T11:00:00Z' },
    ports: hostPort ? [{ containerPort: ports.target, hostPort: taken, protocol }] : [],
  });
  return [web, ...slices, guest];
}

/** Returns the endpoints that the slices list. */
export function endpointsOf({ endpoints }: Options): readonly PodName[] {
  if (endpoints === 'none') return [];
  return endpoints === 'ready there' ? podNames.filter((name) => !isHere(name)) : podNames;
}

/** Conditions of an endpoint, as the API has them (KEP-1672). */
export function conditionsOf(name: PodName, { endpoints }: Options) {
  const isAffected = endpoints === 'terminating' || isHere(name);
  if (isAffected && endpoints.startsWith('terminating')) {
    return { ready: false, serving: true, terminating: true };
  }
  if (isAffected && endpoints === 'unready here') {
    return { ready: false, serving: false, terminating: false };
  }
  return { ready: true, serving: true, terminating: false };
}

/** Zones and nodes that an endpoint is for. */
export function hintsOf(name: PodName, { hints }: Options): { zones?: string[]; nodes?: string[] } {
  const zone = isHere(name) ? 'zone-a' : 'zone-b';
  switch (hints) {
    case 'zone':
      return { zones: [zone] };
    case 'node':
      return { zones: [zone], nodes: [isHere(name) ? 'here' : 'there'] };
    case 'another zone':
      return { zones: ['zone-c'] };
    case 'not all':
      return name === 'there-0' ? {} : { zones: [zone] };
    default:
      return {};
  }
}
