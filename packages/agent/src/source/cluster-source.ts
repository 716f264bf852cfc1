import { ApiClient, type ClusterAccess, ListWatch, type Resource } from '@heddle/kube';
import {
  nodeFields,
  type ObjectKind,
  podFields,
  type ReadObject,
  readObject,
  serviceFields,
  sliceFields,
} from '@heddle/objects';
import type { Platform } from '@heddle/sys';
import { ClusterObjects } from './cluster-objects.ts';
import { ServerAddresses } from './server-addresses.ts';
import type { ServerAddress, Source, SourceListener, SourceState } from './source.ts';

export interface ClusterSourceOptions {
  readonly platform: Platform;
  readonly access: ClusterAccess;
  /** Name of this node's Node object. */
  readonly node: string;
  /** Look at all Nodes from the start; otherwise once a service asks for tunnels between nodes. */
  readonly allNodes: boolean;
  readonly listener: SourceListener;
}

/**
 * Services without an address of their own, and those that another proxy serves (KEP-2447), don't
 * travel. The label of a headless service, like all labels of services, is on their slices too.
 */
const servedSelector = '!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name';

const read = readObject;
const services: Resource<ReadObject> = {
  ...{ path: '/api/v1/services', labelSelector: servedSelector },
  ...{ fields: serviceFields, read },
};
const slices: Resource<ReadObject> = {
  ...{ path: '/apis/discovery.k8s.io/v1/endpointslices', labelSelector: servedSelector },
  ...{ fields: sliceFields, read },
};
const allNodes: Resource<ReadObject> = { path: '/api/v1/nodes', fields: nodeFields, read };
const pods: Resource<ReadObject> = { path: '/api/v1/pods', fields: podFields, read };

/**
 * Follows the Services, EndpointSlices, the own Node and its Pods of a cluster until disposed. Other Nodes
 * are looked at only where tunnels lead to them: else each of a thousand would hear of each. The listener
 * hears nothing before all have been listed once, and goes on hearing of changes however often the
 * connection is lost.
 */
export function openClusterSource(options: ClusterSourceOptions): Source {
  return new ClusterSource(options);
}

class ClusterSource implements Source {
  readonly content = 'objects';
  readonly #client: ApiClient;
  readonly #objects: ClusterObjects;
  readonly #watches = new Map<ObjectKind, ListWatch<ReadObject>>();
  readonly #platform: Platform;
  readonly #addresses: ServerAddresses;

  constructor({ platform, access, node, allNodes: all, listener }: ClusterSourceOptions) {
    this.#platform = platform;
    this.#addresses = new ServerAddresses(access);
    const client = new ApiClient(platform, access, (addresses, port) => {
      if (this.#addresses.add(addresses, port)) listener.onApiServers(this.apiServers);
    });
    this.#client = client;
    const objects = new ClusterObjects({
      ...{ platform, node, listener },
      server: () => client.server,
      lastEventMs: () =>
        Math.max(...Array.from(this.#watches.values(), ({ state }) => state.lastEventMs)),
      onApiServers: (addresses) => client.setDiscovered(addresses),
      ...(all ? {} : { onTunnelsWanted: () => this.#watch('node', allNodes) }),
    });
    this.#objects = objects;
    this.#watch('service', services);
    this.#watch('slice', slices);
    this.#watch('node', all ? allNodes : { ...allNodes, fieldSelector: `metadata.name=${node}` });
    // For their hostPorts. Those of finished jobs may stay by the thousand.
    const running = `spec.nodeName=${node},status.phase!=Succeeded,status.phase!=Failed`;
    this.#watch('pod', { ...pods, fieldSelector: running });
  }

  get state(): SourceState {
    return this.#objects.state;
  }

  get apiServers(): readonly ServerAddress[] {
    return this.#addresses.all;
  }

  /** Watches a resource, in place of what was watched for that kind before. */
  #watch(kind: ObjectKind, resource: Resource<ReadObject>): void {
    this.#watches.get(kind)?.[Symbol.dispose]();
    const watch = new ListWatch({
      ...{ platform: this.#platform, client: this.#client, resource },
      onChanges: (changes) => this.#objects.take(kind, changes),
      onState: (state) => this.#objects.setState(kind, state),
    });
    this.#watches.set(kind, watch);
  }

  [Symbol.dispose](): void {
    for (const watch of this.#watches.values()) watch[Symbol.dispose]();
    this.#objects[Symbol.dispose]();
    this.#client[Symbol.dispose]();
  }
}
