import type { Platform } from '@heddle/sys';
import { readConfig } from '../src/config.ts';
import { EventLog } from '../src/events.ts';
import type { FeatureHost } from '../src/feature.ts';
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

  owners(): ReadonlyMap<string, string> {
    return new Map();
  }
}
