// Kubernetes objects as short as a test wants them. Names of fields are the API's.

type Fields = Readonly<Record<string, unknown>>;

/** A Service in the namespace `default`; `spec` replaces or adds to one TCP port 80. */
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

/** Addresses of one family, or endpoints as the API has them; `more` replaces fields of the slice. */
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

/** An endpoint with conditions and, as `more`, other fields of the API. */
export function endpoint(
  address: string,
  conditions: { ready?: boolean; serving?: boolean; terminating?: boolean } = {},
  more: Fields = {},
) {
  return { addresses: [address], conditions, ...more };
}

/** A Pod that runs on a node, with these ports; `metadata` and `more` replace or add to fields. */
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
