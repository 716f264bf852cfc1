import type { Endpoint } from '@heddle/lab';

// The cluster that every variant serves: any number of services of one TCP port, each with the same
// two pods behind it, so that a connection to any of them is answered and clients can go through
// all of them.

export const clientPod = 'pod-1-1';
export const backendPods = ['pod-1-2', 'pod-1-3'] as const;
/** Addresses of the backends' pods; the lab of every variant has the same. */
export const backendAddresses = ['10.244.1.2', '10.244.1.3'] as const;
export const nodeAddress = '192.0.2.1';
export const podCidr = '10.244.0.0/16';
export const serviceCidr = '10.96.0.0/12';
export const servicePort = 80;
/** Where the backends listen. */
export const backendPort = 8080;
export const namespace = 'bench';

export interface Service {
  readonly name: string;
  readonly clusterIP: string;
}

/** The n-th service, counted from 0. */
export function service(n: number): Service {
  const host = n + 10;
  return {
    name: `svc-${n}`,
    clusterIP: `10.${96 + (host >> 16)}.${(host >> 8) & 255}.${host & 255}`,
  };
}

export function services(count: number): Service[] {
  return Array.from({ length: count }, (_, n) => service(n));
}

/** What a client of a variant connects to. */
export type Aim =
  /** The one in the middle of so many. */
  | { readonly kind: 'service'; readonly count: number }
  /** A different one each time, of so many: nothing of it is in the processor's caches. */
  | { readonly kind: 'any service'; readonly count: number }
  | { readonly kind: 'direct' }
  | { readonly kind: 'loopback' };

/** Every target that the aim allows. */
export function targets(aim: Aim): Endpoint[] {
  if (aim.kind === 'service' || aim.kind === 'any service') {
    const all = services(aim.count);
    const chosen = aim.kind === 'service' ? [all[aim.count >> 1]!] : all;
    return chosen.map(({ clusterIP }) => ({ address: clusterIP, port: servicePort }));
  }
  const addresses = aim.kind === 'direct' ? backendAddresses : ['127.0.0.1'];
  return addresses.map((address) => ({ address, port: backendPort }));
}

/** A Service and its EndpointSlice, as an API server gives them. */
export function manifests(
  { name, clusterIP }: Service,
  endpoints = backendAddresses as readonly string[],
) {
  const ports = (port: number) => [{ name: 'http', protocol: 'TCP', port }];
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { namespace, name },
      spec: {
        type: 'ClusterIP',
        clusterIP,
        clusterIPs: [clusterIP],
        ipFamilies: ['IPv4'],
        ports: [{ ...ports(servicePort)[0], targetPort: backendPort }],
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
