// Kubernetes objects as short as a test wants them. Names of fields are the API's.

type Fields = Readonly<Record<string, unknown>>;

interface ServiceFields extends Fields {
  readonly labels?: Fields;
  readonly annotations?: Fields;
  readonly created?: string;
  readonly namespace?: string;
  /** Ingress entries of status.loadBalancer. */
  readonly ingress?: readonly Fields[];
}

/** A Service; what isn't metadata or ingress goes into `spec`. One unnamed TCP port 80 by default. */
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

/** An endpoint of a slice: `zones` and `nodes` are its hints. */
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

/** An EndpointSlice of a service; endpoints are addresses or what `endpoint` makes. */
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

/** A Node with internal addresses and perhaps a zone. */
export function node(name: string, addresses: readonly string[], zone?: string) {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: zone === undefined ? {} : { 'topology.kubernetes.io/zone': zone } },
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
  /** Ports of its one container; `more` replaces fields of `spec`. */
  readonly ports?: readonly Fields[];
}

/** A Pod on node `here` that runs and has TCP port 8080 at the node's port 80. */
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

/** A Node whose addresses have the types that are said. */
export function typedNode(name: string, addresses: readonly (readonly [string, string])[]) {
  const made = node(name, []);
  const typed = addresses.map(([type, address]) => ({ type, address }));
  return { ...made, status: { addresses: typed } };
}
