import assert from 'node:assert/strict';
import type { Platform } from '@heddle/sys';
import { nodePlatform } from '@heddle/sys/node';
import { eventually } from '@heddle/sys/testing/eventually';
import type { ClusterAccess, Credentials } from '../src/access.ts';
import { ApiClient } from '../src/api-client.ts';
import { ListWatch, type WatchState } from '../src/list-watch.ts';
import type { ResourceChange } from '../src/listing.ts';
import { parseServer } from '../src/server.ts';
import type { ApiServer } from './api-server.ts';
import { type Kind, type StoreEvent, traitsOf, type WrittenObject } from './object-store.ts';

/** The version of an object, and a text that a test can change. */
export interface Seen {
  readonly version: number;
  readonly text: string;
}

export interface FollowOptions {
  readonly kind?: Kind;
  readonly labelSelector?: string;
  readonly ca?: string;
  /** Returns the credentials; default: none. */
  readonly token?: () => string;
  /** The real seconds of one second of the client's timers. The default is 1. */
  readonly timeScale?: number;
}

/** Returns a Platform with a fast clock and timers: seconds take milliseconds. */
export function fastPlatform(timeScale: number): Platform {
  const platform = nodePlatform(() => {});
  return {
    ...platform,
    monotonicNs: () => BigInt(Math.round(Number(platform.monotonicNs()) / timeScale)),
    setTimer: (milliseconds, fire) => platform.setTimer(milliseconds * timeScale, fire),
  };
}

/** Returns the access to the server of a test. */
export function accessTo(url: string, { ca, token }: FollowOptions): ClusterAccess {
  const server = parseServer(url);
  assert.ok(typeof server === 'object', String(server));
  let current: Credentials | undefined;
  return {
    origin: 'test',
    servers: [server],
    insecureSkipVerify: false,
    warnings: [],
    proxyFor: () => undefined,
    credentials(rejected, onReady) {
      if (!current || current === rejected) {
        current = { ...(ca && { ca }), ...(token && { token: token() }) };
      }
      onReady(current);
      return { [Symbol.dispose]() {} };
    },
  };
}

/** A client that watches a kind of objects over real sockets, with its reported changes. */
export class FollowedServer implements Disposable {
  readonly view = new Map<string, Seen>();
  readonly states: WatchState[] = [];
  /** The keys of reported changes, in order. */
  readonly changes: string[] = [];
  /** Numbers of changes of each call. */
  readonly calls: number[] = [];
  readonly listWatch: ListWatch<Seen>;
  readonly #client: ApiClient;
  readonly #server: ApiServer;
  readonly #kind: Kind;
  /** For each key the version of its last removal. */
  readonly #removed = new Map<string, number>();

  constructor(server: ApiServer, options: FollowOptions = {}) {
    const { kind = 'Service', labelSelector, timeScale = 1 } = options;
    this.#server = server;
    this.#kind = kind;
    server.listeners.add((event) => this.#note(event));
    const platform = fastPlatform(timeScale);
    this.#client = new ApiClient(platform, accessTo(server.url, options));
    const { group, plural } = traitsOf(kind);
    this.listWatch = new ListWatch<Seen>({
      platform,
      client: this.#client,
      resource: {
        path: `/${group}/${plural}`,
        ...(labelSelector !== undefined && { labelSelector }),
        fields: { kind: true, metadata: { resourceVersion: true, annotations: { text: true } } },
        read(object) {
          const { kind: own, metadata } = object as WrittenObject;
          assert.equal(own, kind);
          const { text = '' } = (metadata.annotations ?? {}) as { text?: string };
          return { version: Number(metadata.resourceVersion), text };
        },
      },
      onChanges: (changes) => this.#record(changes),
      onState: (state) => this.states.push(state),
    });
  }

  /** Waits until the reported objects are those of the server. */
  async untilEqual(what: string): Promise<void> {
    const wanted = () =>
      new Map(this.#server.objects(this.#kind).map(({ key, version }) => [key, version]));
    const has = () => new Map([...this.view].map(([key, { version }]) => [key, version]));
    await this.until(() => {
      const [a, b] = [wanted(), has()];
      return a.size === b.size && [...a].every(([key, version]) => b.get(key) === version);
    }, what);
    assert.deepEqual(has(), wanted());
  }

  async until(condition: () => boolean, what: string): Promise<void> {
    const detail = () => JSON.stringify(this.listWatch.state);
    await eventually(what, condition, { ms: 20_000, stepMs: 2, detail });
  }

  [Symbol.dispose](): void {
    this.listWatch[Symbol.dispose]();
    this.#client[Symbol.dispose]();
  }

  #note({ kind, before, after, version }: StoreEvent): void {
    if (kind === this.#kind && before && !after) this.#removed.set(before.key, version);
  }

  #record(changes: readonly ResourceChange<Seen>[]): void {
    this.calls.push(changes.length);
    for (const change of changes) {
      const { key } = change;
      this.changes.push(key);
      const had = this.view.get(key);
      if (change.op === 'set') {
        assert.ok(!had || had.version < change.value.version, `${key} was reported twice`);
        this.view.set(key, change.value);
        continue;
      }
      assert.ok(had, `${key} is removed and was not there`);
      const removed = this.#removed.get(key) ?? 0;
      assert.ok(removed > had.version, `${key} is removed, and the server had it all along`);
      this.view.delete(key);
    }
  }
}
