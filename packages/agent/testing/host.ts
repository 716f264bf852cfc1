import type { Platform } from '@heddle/sys';
import { readConfig } from '../src/config.ts';
import { EventLog } from '../src/events.ts';
import type { AttachedPod, FeatureHost } from '../src/feature.ts';
import type { ServerAddress } from '../src/source/source.ts';

/** The agent as a feature sees it, in a test of the feature alone. */
export class FakeHost implements FeatureHost {
  readonly platform: Platform;
  readonly config: FeatureHost['config'];
  readonly events: EventLog;
  readonly changeLevel = 'info';
  readonly cniPlugin = () => new Uint8Array();
  isSettled = false;
  isHealthy = true;
  /** The number of calls of `rewatch`. */
  rewatched = 0;
  /** The arguments of `setApiServers`. */
  readonly apiServers: (readonly ServerAddress[])[] = [];
  onIdle = () => {};

  constructor(platform: Platform, config: Partial<FeatureHost['config']> = {}) {
    this.platform = platform;
    this.events = new EventLog(platform);
    this.config = {
      ...readConfig(undefined, {}),
      ...{ node: 'n1', cgroup: '/', healthAddress: 'off', metricsAddress: 'off' },
      ...config,
    };
  }

  rewatch(): void {
    this.rewatched++;
  }

  setApiServers(servers: readonly ServerAddress[]): void {
    this.apiServers.push(servers);
  }

  /** The pods that were attached, by their addresses. */
  readonly attached = new Map<string, AttachedPod>();
  /** Calls that let a held pod go, by address; a pod is held if its address is a key. */
  readonly held = new Map<string, (() => void) | undefined>();

  attach(pod: AttachedPod, addresses: readonly string[]): void {
    for (const address of addresses) this.attached.set(address, pod);
  }

  detach(addresses: readonly string[]): void {
    for (const address of addresses) this.attached.delete(address);
  }

  holdPod(address: string, done: () => void): Disposable | undefined {
    if (!this.held.has(address)) return undefined;
    this.held.set(address, done);
    return { [Symbol.dispose]: () => void this.held.delete(address) };
  }

  owners(): ReadonlyMap<string, string> {
    return new Map();
  }
}
