import type { SocketAddress } from '@heddle/sys/net';
import { nodePort, type SiteName, sites } from './sites.ts';

// The cluster that every variant serves: any number of services of one port, each with the same
// two pods behind it, so that a connection to any of them is answered and clients can go through
// all of them.

export const podCidr = '10.244.0.0/16';
export const serviceCidr = '10.96.0.0/12';
export const servicePort = 80;
/** Addresses of the pods behind services of the usual site. */
export const { backendAddresses } = sites['east-west'];
/** The port at which the backends listen. */
export const backendPort = 8080;
export const namespace = 'bench';

export interface Service {
  readonly name: string;
  readonly clusterIP: string;
  readonly nodePort?: number;
  readonly protocol: 'TCP' | 'UDP';
  /** Addresses of its pods. */
  readonly endpoints: readonly string[];
}

/** Returns the n-th service of a site, counted from 0. */
export function service(n: number, site: SiteName = 'east-west'): Service {
  const host = n + 10;
  const { backendAddresses: endpoints, nodePorts, protocol } = sites[site];
  return {
    protocol,
    name: `svc-${n}`,
    clusterIP: `10.${96 + (host >> 16)}.${(host >> 8) & 255}.${host & 255}`,
    endpoints,
    ...(nodePorts ? { nodePort: nodePort(n).port } : {}),
  };
}

export function services(count: number, site: SiteName = 'east-west'): Service[] {
  return Array.from({ length: count }, (_, n) => service(n, site));
}

/** The target of a variant's client. */
export type Aim =
  /** The service in the middle of this number of services. */
  | { readonly kind: 'service'; readonly count: number }
  /** Another service each time, of this number: its entries are not in the processor's caches. */
  | { readonly kind: 'any service'; readonly count: number }
  | { readonly kind: 'direct' }
  | { readonly kind: 'loopback' };

/** Returns every target that the aim allows at a site. */
export function targets(aim: Aim, site: SiteName): SocketAddress[] {
  const { nodePorts } = sites[site];
  if (aim.kind === 'service' || aim.kind === 'any service') {
    const all = Array.from({ length: aim.count }, (_, n) =>
      nodePorts ? nodePort(n) : { address: service(n).clusterIP, port: servicePort },
    );
    return aim.kind === 'service' ? [all[aim.count >> 1]!] : all;
  }
  const addresses = aim.kind === 'direct' ? sites[site].backendAddresses : ['127.0.0.1'];
  return addresses.map((address) => ({ address, port: backendPort }));
}

/** Returns a Service and its EndpointSlice, as an API server gives them. */
export function manifests(
  {
    name,
    clusterIP,
    nodePort,
    protocol = 'TCP',
  }: Partial<Service> & Pick<Service, 'name' | 'clusterIP'>,
  endpoints: readonly string[] = backendAddresses,
) {
  const ports = (port: number) => [{ name: 'http', protocol, port }];
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { namespace, name },
      spec: {
        type: nodePort === undefined ? 'ClusterIP' : 'NodePort',
        clusterIP,
        clusterIPs: [clusterIP],
        ipFamilies: ['IPv4'],
        ports: [
          { ...ports(servicePort)[0], targetPort: backendPort, ...(nodePort && { nodePort }) },
        ],
      },
    },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { namespace, name: `${name}-1`, labels: { 'kubernetes.io/service-name': name } },
      addressType: 'IPv4',
      ports: ports(backendPort),
      endpoints: endpoints.map((address) => ({
        addresses: [address],
        conditions: { ready: true, serving: true, terminating: false },
      })),
    },
  ];
}
