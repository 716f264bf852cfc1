import { ApiClient, type ClusterAccess, ListWatch, type ResourceChange } from '@heddle/kube';
import type { ReadObject } from '@heddle/objects';
import type { Platform } from '@heddle/sys';
import { ClusterObjects } from './cluster-objects.ts';
import { ServerAddresses } from './server-addresses.ts';
import type { ServerAddress, Source, SourceListener, SourceState } from './source.ts';
import { type Demand, mergedWatches, type Watch, watchedPath } from './watches.ts';

export interface ClusterSourceOptions {
  readonly platform: Platform;
  readonly access: ClusterAccess;
  readonly demand: Demand;
  readonly listener: SourceListener;
}

/** A watch that is open. */
interface OpenWatch extends Watch {
  readonly list: ListWatch<ReadObject>;
}

/**
 * Follows the objects of a cluster that the features want, until disposed. The listener receives nothing before
 * all have been listed once, and every change from then on, however often the connection is lost.
 */
export function openClusterSource(options: ClusterSourceOptions): Source {
  return new ClusterSource(options);
}

class ClusterSource implements Source {
  readonly content = 'objects';
  readonly #platform: Platform;
  readonly #client: ApiClient;
  readonly #demand: Demand;
  readonly #objects: ClusterObjects;
  readonly #addresses: ServerAddresses;
  #wanted: ReadonlyMap<string, Watch> = new Map();
  /** The open watches by id. An unwanted one stays open until its replacement has listed. */
  readonly #open = new Map<string, OpenWatch>();

  constructor({ platform, access, demand, listener }: ClusterSourceOptions) {
    this.#platform = platform;
    this.#demand = demand;
    this.#addresses = new ServerAddresses(access);
    const client = new ApiClient(platform, access, (addresses, port) => {
      if (this.#addresses.add(addresses, port)) listener.onApiServers(this.apiServers);
    });
    this.#client = client;
    this.#objects = new ClusterObjects({
      ...{ platform, demand, listener },
      server: () => client.server,
      lastEventMs: () =>
        Math.max(0, ...Array.from(this.#open.values(), ({ list }) => list.state.lastEventMs)),
    });
    this.rewatch();
  }

  get state(): SourceState {
    return this.#objects.state;
  }

  get apiServers(): readonly ServerAddress[] {
    return this.#addresses.all;
  }

  setApiServers(servers: readonly ServerAddress[]): void {
    this.#client.setDiscovered(servers.map(({ address, port }) => ({ host: address, port })));
  }

  rewatch(): void {
    this.#wanted = mergedWatches(this.#demand.watches());
    this.#objects.expect(this.#wanted.keys());
    for (const [id, watch] of this.#wanted) {
      if (this.#open.has(id)) continue;
      const { kind, labelSelector, fieldSelector, mayBeMissing = false } = watch;
      const list = new ListWatch({
        ...{ platform: this.#platform, client: this.#client },
        resource: {
          ...{ path: watchedPath(watch), fields: kind.fields },
          ...(labelSelector === undefined ? {} : { labelSelector }),
          ...(fieldSelector === undefined ? {} : { fieldSelector }),
          read: (value) => this.#demand.reader.read(value),
        },
        mayBeMissing,
        onChanges: (changes) => this.#take(id, changes),
        onState: (state) => this.#objects.setState(id, kind.name, state),
      });
      this.#open.set(id, { ...watch, list });
    }
    this.#closeUnwanted();
  }

  [Symbol.dispose](): void {
    for (const { list } of this.#open.values()) list[Symbol.dispose]();
    this.#objects[Symbol.dispose]();
    this.#client[Symbol.dispose]();
  }

  #take(id: string, changes: readonly ResourceChange<ReadObject>[]): void {
    const watch = this.#open.get(id)!;
    // An object that leaves the selection of one watch may be in that of another.
    const isGone = ({ op, key }: ResourceChange<ReadObject>) =>
      op !== 'delete' || !this.#isHeld(key, watch);
    this.#objects.take(id, watch.kind, this.#open.size > 1 ? changes.filter(isGone) : changes);
    this.#closeUnwanted();
  }

  /** Closes the watches that are not wanted any more, unless one of the same kind has not listed yet. */
  #closeUnwanted(): void {
    for (const [id, watch] of this.#open) {
      if (this.#wanted.has(id)) continue;
      const isReplaced = Array.from(this.#open.values()).every(
        ({ kind, list }) => kind !== watch.kind || list.state.resourceVersion !== '',
      );
      if (!isReplaced && watch.list.state.resourceVersion !== '') continue;
      this.#open.delete(id);
      watch.list[Symbol.dispose]();
      const keys = [...watch.list.keys()].filter((key) => !this.#isHeld(key, watch));
      if (keys.length > 0) this.#objects.remove(watch.kind, keys);
    }
  }

  /** Returns true if a watch other than this one of the same kind has the object. */
  #isHeld(key: string, but: OpenWatch): boolean {
    for (const watch of this.#open.values()) {
      if (watch !== but && watch.kind === but.kind && watch.list.has(key)) return true;
    }
    return false;
  }
}
