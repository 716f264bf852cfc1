import type { Platform } from '@heddle/sys';
import { Disposal } from '@heddle/sys';
import type { NodeDatapath } from '../datapath-part.ts';
import type { EventLog } from '../events.ts';
import type { EffectiveConfig } from '../status.ts';
import { type NodeView, watchNodeDevices } from './node-devices.ts';
import { type OwnAddress, ownAddresses, watchOwnAddresses } from './own-addresses.ts';
import { watchTracking } from './tracking.ts';

export interface NodeWatchOptions {
  readonly platform: Platform;
  readonly config: EffectiveConfig;
  readonly events: EventLog;
  readonly datapath: Pick<NodeDatapath, 'setNode' | 'nat'>;
  /** Called with the node's own addresses: at the start, and whenever they change. */
  readonly onAddresses: (own: readonly OwnAddress[]) => void;
}

/**
 * Follows the node itself: its addresses, the network interfaces with external traffic, and whether netfilter
 * tracks connections. All features depend on them, whatever the objects.
 */
export class NodeWatch implements Disposable {
  readonly #options: NodeWatchOptions;
  readonly #watches = new Disposal();
  /** The names of the network interfaces with external traffic, as text. */
  #interfaces: string | undefined;
  /** The reason why the datapath refused the last network interfaces. */
  #problem: string | undefined;

  /** Throws SysError, NetlinkError. */
  constructor(options: NodeWatchOptions) {
    this.#options = options;
    const { platform, config, onAddresses } = options;
    try {
      const addresses = ownAddresses(platform);
      this.#watches.use(watchOwnAddresses(platform, addresses, (now) => this.#onAddresses(now)));
      this.#watches.use(watchTracking(platform, (tracked) => this.#onTracking(tracked)));
      onAddresses(addresses);
      this.#watches.use(watchNodeDevices(platform, config, (view) => this.#onView(view)));
    } catch (error) {
      this.#watches[Symbol.dispose]();
      throw error;
    }
  }

  get interfaces(): string | undefined {
    return this.#interfaces;
  }

  [Symbol.dispose](): void {
    this.#watches[Symbol.dispose]();
  }

  #onAddresses(now: readonly OwnAddress[]): void {
    const { platform, config, onAddresses } = this.#options;
    const text = [...new Set(now.map(({ address }) => address))].join(', ') || 'none';
    platform.log('debug', `own addresses are now ${text}`, { subject: config.node });
    onAddresses(now);
  }

  /** Returns false if the datapath refused it. */
  #onView({ devices, addresses, problems }: NodeView): boolean {
    const { config, events, datapath } = this.#options;
    const { node } = config;
    const isRetry = this.#problem !== undefined;
    if (!isRetry) for (const each of problems) events.add('warn', 'problem', node, each);
    try {
      datapath.setNode(devices, addresses);
      this.#problem = undefined;
    } catch (error) {
      const message = `serve external traffic: ${(error as Error).message}`;
      if (message !== this.#problem) events.add('error', 'problem', node, message);
      this.#problem = message;
      return false;
    }
    const before = this.#interfaces;
    const external = devices.filter(({ pods }) => !pods);
    this.#interfaces = external.map(({ name }) => name).join(', ') || 'no network interface';
    if (before === undefined || before === this.#interfaces) return true;
    const message = `external traffic is now served on ${this.#interfaces}`;
    events.add('info', 'agent', node, message);
    return true;
  }

  #onTracking(tracked: boolean): void {
    const { config, events, datapath } = this.#options;
    datapath.nat.setTracked(tracked);
    if (!tracked || config.devices === 'none') return;
    const message =
      'netfilter tracks connections here: external packets to pods of this node pass its FORWARD rules';
    events.add('info', 'agent', config.node, message);
  }
}
