// Makes Kubernetes objects for tests from a few arguments. Field names are those of the API.

type Fields = Readonly<Record<string, unknown>>;

/**
 * Returns a Service in the namespace `default` with one TCP port 80. `spec` adds or replaces
 * fields.
 */
export function service(
  name: string,
  clusterIPs: readonly string[],
  spec: Fields = {},
  more: Fields = {},
) {
  const { labels, annotations, status } = more;
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, labels, annotations },
    spec: { clusterIP: clusterIPs[0], clusterIPs, ports: [{ port: 80 }], ...spec },
    status,
  };
}

/**
 * Returns an EndpointSlice. Endpoints are addresses of one family or API objects; `more` replaces
 * fields.
 */
export function slice(
  serviceName: string,
  endpoints: readonly (string | Fields)[],
  more: Fields & { readonly name?: string } = {},
) {
  const { name = `${serviceName}-1`, ...fields } = more;
  const list = endpoints.map((each) => (typeof each === 'string' ? { addresses: [each] } : each));
  const [first] = list.map(({ addresses }) => (addresses as string[])[0]!);
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, labels: { 'kubernetes.io/service-name': serviceName } },
    addressType: first?.includes(':') ? 'IPv6' : 'IPv4',
    ports: [{ port: 8080 }],
    endpoints: list,
    ...fields,
  };
}

/** Returns an endpoint with conditions and other fields (`more`). */
export function endpoint(
  address: string,
  conditions: { ready?: boolean; serving?: boolean; terminating?: boolean } = {},
  more: Fields = {},
) {
  return { addresses: [address], conditions, ...more };
}

/** Returns a running Pod on a node with these ports. The last argument adds or replaces fields. */
export function pod(
  name: string,
  nodeName: string,
  ips: readonly string[],
  ports: readonly Fields[],
  { metadata, status, ...spec }: { metadata?: Fields; status?: Fields } & Fields = {},
) {
  const podIPs = ips.map((ip) => ({ ip }));
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, ...metadata },
    spec: { nodeName, containers: [{ name: 'main', ports }], ...spec },
    status: { phase: 'Running', podIP: ips[0], podIPs, ...status },
  };
}
