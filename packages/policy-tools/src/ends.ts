import { canonicalAddress, type PodRecord, type ServiceRecord } from '@heddle/objects';
import type { ClusterObjects } from './cluster.ts';
import { type AnyProtocol, counted, listed, podName } from './texts.ts';

/** A question that can't be answered: a sentence with the remedy. */
export class ToolError extends Error {
  override readonly name = 'ToolError';
}

/** One end of a connection. */
export interface End {
  /** `pod shop/web-1 (10.1.0.1)`, `node worker-1 (192.0.2.1)`, `198.51.100.7`. */
  readonly label: string;
  readonly address: string;
  readonly pod: PodRecord | undefined;
}

/** The destination of a connection after the translation of services. */
export interface Target extends End {
  /** Host order. */
  readonly port: number;
  /** The service that was asked for, `namespace/name`. */
  readonly service: string | undefined;
}

/** Returns the end with an address. */
export function endAt({ world }: ClusterObjects, address: string, label = address): End {
  const pod = world.podAt(address);
  if (pod) return { label: `pod ${podName(pod)}`, address, pod };
  const [node] = world.nodesAt(address);
  return { label: node ? `node ${node.name} (${address})` : label, address, pod };
}

/**
 * Returns the ends that a text names: an address, a pod (`NAME` or `NAMESPACE/NAME`) with the address of each family, or
 * a node. Throws ToolError.
 */
export function endsOf(cluster: ClusterObjects, text: string): readonly End[] {
  const address = canonicalAddress(text);
  if (address !== undefined) return [endAt(cluster, address)];
  const { world, unusedPods } = cluster;
  const name = fullName(text.replace(/^pod\//, ''));
  const pod = world.pods.get(name);
  if (pod) {
    return pod.addresses.map((each) => ({ label: `pod ${name}`, address: each, pod }));
  }
  const node = world.nodes.get(text.replace(/^node\//, ''));
  if (node) {
    const label = `node ${node.name}`;
    return node.addresses.map((each) => ({ label, address: each, pod: undefined }));
  }
  const reason = unusedPods.get(name);
  if (reason !== undefined) {
    throw new ToolError(
      `find pod ${name}: policies do not select it, because ${reason} (give the address of its node instead)`,
    );
  }
  throw new ToolError(`find ${text}: ${unknown(cluster, name)}`);
}

/**
 * Returns the destinations of connections to a pod, an address, a node or a service at a port: the backends if a service
 * is there. Throws ToolError.
 */
export function targetsOf(
  cluster: ClusterObjects,
  text: string,
  protocol: AnyProtocol,
  port: number,
): readonly Target[] {
  const address = canonicalAddress(text);
  const frontend = cluster.frontends.get(`${protocol} ${address} ${port}`);
  if (frontend && frontend.backends.length > 0) {
    const { service, backends } = frontend;
    return backends.map((each) => ({ ...endAt(cluster, each.address), port: each.port, service }));
  }
  const found = address === undefined ? undefined : nodePortOf(cluster, address, protocol, port);
  if (found) return backendsOf(cluster, found.service, protocol, found.port);
  const service = serviceOf(cluster, text);
  if (service) return backendsOf(cluster, service, protocol, port);
  return endsOf(cluster, text).map((end) => ({ ...end, port, service: undefined }));
}

/** Returns the service with a NodePort at a node's address, and the port of its ClusterIP. */
function nodePortOf(
  { services, world }: ClusterObjects,
  address: string,
  protocol: AnyProtocol,
  number: number,
): { readonly service: ServiceRecord; readonly port: number } | undefined {
  if (world.nodesAt(address).length === 0) return undefined;
  for (const service of services.values()) {
    const port = service.ports.find(
      (each) => each.protocol === protocol && each.nodePort === number && number !== 0,
    );
    if (port) return { service, port: port.port };
  }
  return undefined;
}

/** Returns the service that a text names, by its name or by an address of it. A pod of the same name comes first. */
function serviceOf(cluster: ClusterObjects, text: string): ServiceRecord | undefined {
  const { services, world } = cluster;
  const address = canonicalAddress(text);
  if (address !== undefined) {
    return [...services.values()].find(({ clusterIPs, externalIPs, loadBalancerIPs }) =>
      [clusterIPs, externalIPs, loadBalancerIPs].some((list) => list.includes(address)),
    );
  }
  if (text.startsWith('service/')) {
    const name = fullName(text.slice('service/'.length));
    const service = services.get(name);
    if (!service) throw new ToolError(`find service ${name}: the objects have no such service`);
    return service;
  }
  const name = fullName(text);
  return world.pods.has(name) ? undefined : services.get(name);
}

function backendsOf(
  cluster: ClusterObjects,
  service: ServiceRecord,
  protocol: AnyProtocol,
  port: number,
): readonly Target[] {
  const name = podName(service);
  const found = service.ports.find((each) => each.protocol === protocol && each.port === port);
  if (!found && service.clusterIPs.length > 0) {
    const ports = service.ports.map((each) => `${each.protocol}/${each.port}`);
    throw new ToolError(
      `find service ${name}: it has no port ${protocol}/${port} (its ports are ${listed(ports)})`,
    );
  }
  const slices = cluster.slices.filter(
    (slice) => slice.namespace === service.namespace && slice.service === service.name,
  );
  const targets = slices.flatMap((slice) =>
    slice.ports
      // Clients of a headless service connect to the pods themselves, at whatever port they want.
      .filter((each) => each.protocol === protocol && (!found || each.name === found.name))
      .flatMap((each) =>
        slice.endpoints
          .filter(({ ready, serving }) => ready || serving)
          .map(({ address }): Target => {
            const number = found ? each.port : port;
            return { ...endAt(cluster, address), port: number, service: name };
          }),
      ),
  );
  if (targets.length === 0) {
    throw new ToolError(
      `find backends of service ${name}: the objects have no EndpointSlice of it with endpoints (ask about a pod instead)`,
    );
  }
  return targets;
}

function unknown({ world, services }: ClusterObjects, name: string): string {
  const [namespace] = name.split('/');
  const pods = [...world.pods.values()].filter((pod) => pod.namespace === namespace);
  const known = listed(
    pods.map(({ name: each }) => each),
    4,
  );
  const what = `no pod, node or service has this name (${counted(world.pods.size, 'pod')} and ${counted(services.size, 'service')} are known`;
  return pods.length === 0
    ? `${what}, none in namespace ${namespace})`
    : `${what}; namespace ${namespace} has ${known})`;
}

/** Returns `namespace/name` of a name, which is in the namespace default without one. */
export function fullName(text: string): string {
  return text.includes('/') ? text : `default/${text}`;
}
