// Makes Kubernetes objects for tests from a few arguments. Field names are those of the API.

type Fields = Readonly<Record<string, unknown>>;

interface ServiceFields extends Fields {
  readonly labels?: Fields;
  readonly annotations?: Fields;
  readonly created?: string;
  readonly namespace?: string;
  /** Ingress entries of status.loadBalancer. */
  readonly ingress?: readonly Fields[];
}

/**
 * Returns a Service. Fields other than metadata and ingress go into `spec`. By default it has one
 * unnamed TCP port 80.
 */
export function service(
  name: string,
  clusterIP: string | readonly string[],
  more: ServiceFields = {},
) {
  const { labels, annotations, created, namespace = 'default', ingress, ...spec } = more;
  const clusterIPs = typeof clusterIP === 'string' ? [clusterIP] : clusterIP;
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace, labels, annotations, creationTimestamp: created },
    spec: { clusterIP: clusterIPs[0], clusterIPs, ports: [{ port: 80 }], ...spec },
    status: { loadBalancer: { ingress } },
  };
}

interface EndpointFields extends Fields {
  readonly ready?: boolean;
  readonly serving?: boolean;
  readonly terminating?: boolean;
  readonly node?: string;
  readonly pod?: string;
  readonly zones?: readonly string[];
  readonly nodes?: readonly string[];
}

/** Returns an endpoint of a slice. `zones` and `nodes` are its topology hints. */
export function endpoint(address: string, more: EndpointFields = {}) {
  const { ready, serving, terminating, node, pod, zones, nodes } = more;
  const named = (names?: readonly string[]) => names?.map((name) => ({ name }));
  return {
    addresses: [address],
    conditions: { ready, serving, terminating },
    nodeName: node,
    targetRef: pod === undefined ? undefined : { kind: 'Pod', name: pod },
    hints: { forZones: named(zones), forNodes: named(nodes) },
  };
}

interface SliceFields {
  readonly name?: string;
  readonly namespace?: string;
  readonly ports?: readonly Fields[];
  readonly addressType?: string;
}

/** Returns an EndpointSlice of a service. Endpoints are addresses or results of `endpoint`. */
export function slice(
  serviceName: string,
  endpoints: readonly (string | ReturnType<typeof endpoint>)[],
  more: SliceFields = {},
) {
  const { name = `${serviceName}-1`, namespace = 'default', ports = [{ port: 8080 }] } = more;
  const first = endpoints[0];
  const address = typeof first === 'string' ? first : (first?.addresses[0] ?? '');
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, namespace, labels: { 'kubernetes.io/service-name': serviceName } },
    addressType: more.addressType ?? (address.includes(':') ? 'IPv6' : 'IPv4'),
    ports,
    endpoints: endpoints.map((each) => (typeof each === 'string' ? endpoint(each) : each)),
  };
}

interface NodeFields {
  readonly podCIDRs?: readonly string[];
  readonly annotations?: Fields;
}

/** Returns a Node with internal addresses and optionally a zone. */
export function node(
  name: string,
  addresses: readonly string[],
  zone?: string,
  { podCIDRs, annotations }: NodeFields = {},
) {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      annotations,
      labels: zone === undefined ? {} : { 'topology.kubernetes.io/zone': zone },
    },
    spec: { podCIDR: podCIDRs?.[0], podCIDRs },
    status: {
      addresses: [
        { type: 'Hostname', address: name },
        ...addresses.map((address) => ({ type: 'InternalIP', address })),
      ],
    },
  };
}

interface PodFields extends Fields {
  readonly namespace?: string;
  readonly created?: string;
  readonly deleted?: string;
  readonly node?: string;
  readonly phase?: string;
  /** The ports of its only container. Other fields replace those of `spec`. */
  readonly ports?: readonly Fields[];
}

/** Returns a running Pod on node `here` whose TCP port 8080 has hostPort 80. */
export function pod(name: string, ips: string | readonly string[], more: PodFields = {}) {
  const {
    namespace = 'default',
    created,
    deleted,
    node = 'here',
    phase = 'Running',
    ...rest
  } = more;
  const { ports = [{ containerPort: 8080, hostPort: 80 }], ...spec } = rest;
  const podIPs = (typeof ips === 'string' ? [ips] : ips).map((ip) => ({ ip }));
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, creationTimestamp: created, deletionTimestamp: deleted },
    spec: { nodeName: node, containers: [{ name: 'main', ports }], ...spec },
    status: { phase, podIP: podIPs[0]?.ip, podIPs },
  };
}

/** Returns a Node whose addresses have the given types. */
export function typedNode(name: string, addresses: readonly (readonly [string, string])[]) {
  const made = node(name, []);
  const typed = addresses.map(([type, address]) => ({ type, address }));
  return { ...made, status: { addresses: typed } };
}
