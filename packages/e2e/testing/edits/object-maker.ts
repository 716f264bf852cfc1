// Makes random Kubernetes objects with few names, addresses and ports, so that they often conflict.
import type { Random } from '@heddle/vm/internal';

export interface Service {
  readonly apiVersion: 'v1';
  readonly kind: 'Service';
  readonly metadata: {
    readonly namespace: string;
    readonly name: string;
    readonly creationTimestamp?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: {
    readonly type: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName';
    readonly clusterIP: string;
    readonly clusterIPs: readonly string[];
    readonly ports: readonly {
      name?: string;
      protocol?: string;
      port: number;
      nodePort?: number;
    }[];
    readonly externalIPs?: readonly string[];
    readonly externalName?: string;
    readonly sessionAffinity?: 'None' | 'ClientIP';
    readonly sessionAffinityConfig?: { readonly clientIP: { readonly timeoutSeconds: number } };
    readonly internalTrafficPolicy?: 'Cluster' | 'Local';
    readonly externalTrafficPolicy?: 'Cluster' | 'Local';
    readonly publishNotReadyAddresses?: boolean;
  };
  readonly status?: {
    readonly loadBalancer: { readonly ingress: readonly { ip: string; ipMode?: string }[] };
  };
}

export interface Endpoint {
  readonly addresses: readonly string[];
  readonly conditions: { ready?: boolean; serving?: boolean; terminating?: boolean };
  readonly nodeName?: string;
  readonly targetRef?: { readonly kind: 'Pod'; readonly name: string };
  readonly hints?: {
    readonly forZones?: readonly { name: string }[];
    readonly forNodes?: readonly { name: string }[];
  };
}

export interface Slice {
  readonly apiVersion: 'discovery.k8s.io/v1';
  readonly kind: 'EndpointSlice';
  readonly metadata: {
    readonly namespace: string;
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
  };
  readonly addressType: 'IPv4' | 'IPv6';
  readonly ports: readonly { name?: string; protocol?: string; port: number }[];
  readonly endpoints: readonly Endpoint[];
}

export interface NodeManifest {
  readonly apiVersion: 'v1';
  readonly kind: 'Node';
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly status: { readonly addresses: readonly { type: string; address: string }[] };
}

export interface PodManifest {
  readonly apiVersion: 'v1';
  readonly kind: 'Pod';
  readonly metadata: {
    readonly namespace: string;
    readonly name: string;
    readonly creationTimestamp?: string;
    readonly deletionTimestamp?: string;
  };
  readonly spec: {
    readonly nodeName: string;
    readonly containers: readonly {
      readonly ports: readonly {
        containerPort: number;
        hostPort?: number;
        hostIP?: string;
        protocol?: string;
      }[];
    }[];
  };
  readonly status: { readonly phase: 'Running'; readonly podIPs: readonly { ip: string }[] };
}

export type Manifest = Service | Slice | NodeManifest | PodManifest;

/** Returns the name of an object in the agent's messages: `Service default/web`. */
export function labelOf({ kind, metadata }: Manifest): string {
  return 'namespace' in metadata
    ? `${kind} ${metadata.namespace}/${metadata.name}`
    : `${kind} ${metadata.name}`;
}

const namespaces = ['default', 'shop'];
const serviceNames = ['api', 'db', 'web', 'dns'];
const nodeNames = ['node1', 'node2', 'node3'];
const zones = ['east', 'west'];
const portNames = ['http', 'dns', 'metrics'];
const protocols = ['TCP', 'UDP', 'SCTP'];
/** Few NodePorts, so that services often ask for the same one. */
const nodePorts = [30080, 30053, 30081];

/** Returns a random object. */
export function makeObject(random: Random): Manifest {
  const kind = random.below(23);
  if (kind === 0) return makeNode(random);
  if (kind < 4) return makePod(random);
  return kind < 11 ? makeService(random) : makeSlice(random);
}

function makeService(random: Random): Service {
  const type = random.oneIn(2)
    ? 'ClusterIP'
    : random.pick([
        'NodePort',
        'NodePort',
        'LoadBalancer',
        'LoadBalancer',
        'ExternalName',
      ] as const);
  const clusterIPs = makeClusterIPs(random);
  const isSingle = random.oneIn(3);
  const names = isSingle ? [''] : nonEmpty(random, portNames);
  const ports = names.map((name, i) => ({
    ...(name === '' ? {} : { name }),
    ...maybe(random, 2, { protocol: random.pick(protocols) }),
    port: [80, 53, 9090][(i + random.below(2)) % 3]!,
    ...(type === 'NodePort' || type === 'LoadBalancer'
      ? maybe(random, 1, { nodePort: nodePorts[i]! + random.below(2) })
      : {}),
  }));
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      namespace: random.pick(namespaces),
      name: random.pick(serviceNames),
      ...maybe(random, 2, { creationTimestamp: `2026-01-0${1 + random.below(3)}T00:00:00Z` }),
      ...maybe(random, 12, { labels: { 'service.kubernetes.io/service-proxy-name': 'other' } }),
      ...maybe(random, 2, { annotations: makeAnnotations(random) }),
    },
    spec: {
      type,
      clusterIP: clusterIPs[0]!,
      clusterIPs,
      ports: withoutDuplicatePorts(ports),
      ...maybe(random, 4, { externalIPs: makeExternalIPs(random) }),
      ...(type === 'ExternalName' ? { externalName: 'example.com' } : {}),
      ...maybe(random, 3, { sessionAffinity: 'ClientIP' as const }),
      ...maybe(random, 3, {
        sessionAffinityConfig: { clientIP: { timeoutSeconds: 1 + random.below(1000) } },
      }),
      ...maybe(random, 4, { internalTrafficPolicy: random.pick(['Local', 'Cluster'] as const) }),
      ...maybe(random, 4, { externalTrafficPolicy: random.pick(['Local', 'Cluster'] as const) }),
      ...maybe(random, 6, { publishNotReadyAddresses: random.oneIn(2) }),
    },
    ...maybe(random, 2, {
      status: {
        loadBalancer: {
          ingress: random.some(['203.0.113.20', '203.0.113.21', 'fd00:203::20']).map((ip) => ({
            ip,
            ...maybe(random, 2, { ipMode: random.pick(['VIP', 'Proxy']) }),
          })),
        },
      },
    }),
  };
}

function makeClusterIPs(random: Random): string[] {
  const v4 = `10.96.0.${1 + random.below(9)}`;
  const v6 = `fd00:96::${1 + random.below(9)}`;
  return random.pick([[v4], [v4], [v6], [v4, v6], [v4, v6], [v6, v4], ['None']]);
}

function makeAnnotations(random: Random): Record<string, string> {
  const weights = random
    .some([1, 2, 3, 4, 5])
    .map((n) => (random.oneIn(2) ? `10.244.1.${n}` : `pod-${n}`))
    .map((name) => `${name}=${1 + random.below(6)}`)
    .join(',');
  return {
    'heddle.io/algorithm': random.pick([
      ...['random', 'round-robin', 'weighted', 'weighted', 'least-connections', 'fastest'],
      // Rare, because its tables are large and cost more than all others together.
      ...(random.oneIn(3) ? ['maglev'] : []),
    ]),
    ...maybe(random, 2, { 'heddle.io/weights': weights }),
  };
}

/** Returns free addresses and addresses of a node, an endpoint or a service. */
function makeExternalIPs(random: Random): string[] {
  return random.some([
    ...['203.0.113.1', '203.0.113.20', 'fd00:203::1'],
    ...['192.0.2.1', '192.0.2.2', '198.51.100.2', 'fd00:192:0:2::1'],
    ...['10.244.1.3', 'fd00:10:244:1::2', '10.96.0.1', 'fd00:96::2'],
  ]);
}

function makeSlice(random: Random): Slice {
  const name = random.pick(serviceNames);
  const addressType = random.oneIn(3) ? 'IPv6' : 'IPv4';
  const hinted = random.below(4);
  const names = random.oneIn(3) ? [''] : nonEmpty(random, portNames);
  const ports = names.map((portName) => ({
    ...(portName === '' ? {} : { name: portName }),
    ...maybe(random, 2, { protocol: random.pick(protocols) }),
    port: random.pick([8080, 8081, 5353]),
  }));
  const numbers = random.oneIn(8) ? [] : random.some([1, 2, 3, 4, 5, 6, 7]);
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      namespace: random.pick(namespaces),
      name: `${name}-${1 + random.below(3)}`,
      // The label names the service, not the slice's name.
      labels: {
        'kubernetes.io/service-name': random.oneIn(20) ? random.pick(serviceNames) : name,
      },
    },
    addressType,
    ports,
    endpoints: numbers.map((number) => makeEndpoint(random, number, addressType, hinted)),
  };
}

function makeEndpoint(
  random: Random,
  number: number,
  addressType: 'IPv4' | 'IPv6',
  hinted: number,
): Endpoint {
  return {
    addresses: [`${addressType === 'IPv6' ? 'fd00:10:244:1::' : '10.244.1.'}${number}`],
    conditions: random.pick([
      {},
      { ready: true },
      { ready: true, serving: true, terminating: false },
      { ready: false, serving: false, terminating: false },
      { ready: false, serving: true, terminating: true },
      { ready: false, serving: false, terminating: true },
      { ready: false },
    ]),
    // The pod's number determines its node, as a pod doesn't move.
    nodeName: nodeNames[number % 3]!,
    ...(number % 2 === 0 ? { targetRef: { kind: 'Pod' as const, name: `pod-${number}` } } : {}),
    ...(hinted === 1 ? { hints: { forZones: [{ name: zones[number % 2]! }] } } : {}),
    ...(hinted === 2 ? { hints: { forNodes: [{ name: nodeNames[(number + 1) % 3]! }] } } : {}),
  };
}

function makeNode(random: Random): NodeManifest {
  const name = random.pick(nodeNames);
  const own = { node1: '192.0.2.1', node2: '192.0.2.2', node3: '192.0.2.3' }[name]!;
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      ...maybe(random, 1, { labels: { 'topology.kubernetes.io/zone': random.pick(zones) } }),
    },
    status: {
      addresses: [
        { type: 'Hostname', address: name },
        { type: 'InternalIP', address: own },
        ...random
          .some(['198.51.100.1', '198.51.100.2', 'fd00:198::1'])
          .map((address) => ({ type: 'ExternalIP', address })),
      ],
    },
  };
}

/**
 * Returns a pod with hostPorts, an address and a node, because the agent ignores others. Its ports
 * conflict with those of services.
 */
function makePod(random: Random): PodManifest {
  const number = 1 + random.below(9);
  const v4 = `10.244.1.${10 + number}`;
  const v6 = `fd00:10:244:1::${10 + number}`;
  const ports = nonEmpty(random, nodePorts).map((hostPort, i) => ({
    containerPort: 8080 + i,
    hostPort,
    ...maybe(random, 2, { protocol: random.pick(protocols) }),
    ...maybe(random, 2, {
      hostIP: random.pick([
        ...['0.0.0.0', '::', '127.0.0.1', '127.0.0.2', '::1'],
        ...['192.0.2.1', 'fd00:192:0:2::1', '198.51.100.1', '203.0.113.99'],
      ]),
    }),
  }));
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      namespace: random.pick(namespaces),
      // Some have the name of a service.
      name: random.pick(['api', 'web', 'web-0', 'log']),
      ...maybe(random, 2, { creationTimestamp: `2026-01-0${1 + random.below(3)}T00:00:00Z` }),
      ...maybe(random, 6, { deletionTimestamp: '2026-02-01T00:00:00Z' }),
    },
    spec: {
      nodeName: random.pick(['node1', 'node1', 'node1', 'node2']),
      containers: [{ ports: [{ containerPort: 7000 }] }, { ports }],
    },
    status: {
      phase: 'Running',
      podIPs: random.pick([[v4], [v4, v6], [v4, v6], [v6]]).map((ip) => ({ ip })),
    },
  };
}

/** Returns an invalid version of the object with the same name. */
export function invalidate(object: Manifest, random: Random): Manifest {
  const changed = structuredClone(object) as unknown as Record<string, Record<string, unknown>>;
  if (object.kind === 'Service') {
    if (random.oneIn(2)) changed.spec!.ports = [{ port: 99_999 }];
    else changed.spec!.sessionAffinity = 'Sometimes';
  } else if (object.kind === 'EndpointSlice') {
    (changed as Record<string, unknown>).addressType = 'IPv5';
  } else if (object.kind === 'Pod') {
    changed.spec!.containers = [{ ports: [{ containerPort: 1, hostPort: 99_999 }] }];
  } else {
    changed.status!.addresses = [{ type: 'InternalIP', address: 7 }];
  }
  return changed as unknown as Manifest;
}

/** Removes duplicate ports: the API server accepts each port and protocol once. */
function withoutDuplicatePorts<Port extends { protocol?: string; port: number }>(
  ports: readonly Port[],
): Port[] {
  const key = ({ protocol = 'TCP', port }: Port) => `${port}/${protocol}`;
  return ports.filter((port, i) => ports.findIndex((other) => key(other) === key(port)) === i);
}

function nonEmpty<Item>(random: Random, items: readonly Item[]): Item[] {
  const chosen = random.some(items);
  return chosen.length > 0 ? chosen : [random.pick(items)];
}

/** Returns the fields with a probability of one in `times` (9 in 10 for 1), else no fields. */
function maybe<Fields extends object>(
  random: Random,
  times: number,
  fields: Fields,
): Fields | Record<string, never> {
  const is = times === 1 ? !random.oneIn(10) : random.oneIn(times);
  return is ? fields : {};
}
