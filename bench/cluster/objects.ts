import { makeService, makeSlice } from '@heddle/kube/testing/cluster-objects';
import type { WrittenObject } from '@heddle/kube/testing/object-store';

// The services of the scripted API server, with one port each, so that the number of services is
// that of frontends, as in the published figures of other proxies.

/** Service number `n`, counted from 0. */
export function clusterService(n: number): WrittenObject {
  const service = makeService(n) as WrittenObject & { readonly spec: Ported };
  return { ...service, spec: firstPort(service.spec) } as WrittenObject;
}

/** Its EndpointSlice; another `generation` has other endpoints. */
export function clusterSlice(n: number, endpoints: number, generation = 0): WrittenObject {
  return firstPort(makeSlice(n, { endpoints, generation }) as WrittenObject & Ported);
}

/** Returns the ClusterIP of service number `n`. */
export function clusterIp(n: number): string {
  const { spec } = makeService(n) as unknown as { readonly spec: { readonly clusterIP: string } };
  return spec.clusterIP;
}

interface Ported {
  readonly ports: readonly unknown[];
}

function firstPort<T extends Ported>(ported: T): T {
  return { ...ported, ports: ported.ports.slice(0, 1) };
}
