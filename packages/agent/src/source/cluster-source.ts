import { ApiClient, type ClusterAccess, ListWatch, type Resource } from '@heddle/kube';
import {
  nodeFields,
  type ObjectKind,
  podFields,
  type ReadObject,
  readObject,
  serviceFields,
  sliceFields,
} from '@heddle/model';
import type { Platform } from '@heddle/sys';
import { ClusterObjects } from './cluster-objects.ts';
import type { Source, SourceListener, SourceState } from './source.ts';

export interface ClusterSourceOptions {
  readonly platform: Platform;
  readonly access: ClusterAccess;
  /** Name of this node's Node object. */
  readonly node: string;
  readonly listener: SourceListener;
}

/**
 * Services without an address of their own, and those that another proxy serves (KEP-2447), don't
 * travel. The label of a headless service, like all labels of services, is on their slices too.
 */
const servedSelector = '!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name';

function resources(node: string): readonly [ObjectKind, Resource<ReadObject>][] {
  const read = readObject;
  return [
    [
      'service',
      { path: '/api/v1/services', labelSelector: servedSelector, fields: serviceFields, read },
    ],
    [
      'slice',
      {
        path: '/apis/discovery.k8s.io/v1/endpointslices',
        labelSelector: servedSelector,
        fields: sliceFields,
        read,
      },
    ],
    // Other nodes are not looked at: each of a thousand nodes would hear of each.
    [
      'node',
      { path: '/api/v1/nodes', fieldSelector: `metadata.name=${node}`, fields: nodeFields, read },
    ],
    // For their hostPorts. Those of finished jobs may stay by the thousand.
    [
      'pod',
      {
        path: '/api/v1/pods',
        fieldSelector: `spec.nodeName=${node},status.phase!=Succeeded,status.phase!=Failed`,
        fields: podFields,
        read,
      },
    ],
  ];
}

/**
 * Follows the Services, EndpointSlices, the own Node and its Pods of a cluster until disposed. The listener
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
  readonly #watches: readonly ListWatch<ReadObject>[];

  constructor({ platform, access, node, listener }: ClusterSourceOptions) {
    const client = new ApiClient(platform, access);
    this.#client = client;
    const objects = new ClusterObjects({
      ...{ platform, node, listener },
      server: () => client.server,
      lastEventMs: () => Math.max(...this.#watches.map(({ state }) => state.lastEventMs)),
      onApiServers: (addresses) => client.setDiscovered(addresses),
    });
    this.#objects = objects;
    this.#watches = resources(node).map(
      ([kind, resource]) =>
        new ListWatch({
          ...{ platform, client, resource },
          onChanges: (changes) => objects.take(kind, changes),
          onState: (state) => objects.setState(kind, state),
        }),
    );
  }

  get state(): SourceState {
    return this.#objects.state;
  }

  [Symbol.dispose](): void {
    for (const watch of this.#watches) watch[Symbol.dispose]();
    this.#objects[Symbol.dispose]();
    this.#client[Symbol.dispose]();
  }
}
