import type { AddressPool } from '@heddle/ipam';
import type { NetlinkSocket } from '@heddle/netlink';
import {
  addressesOfOthers,
  answerOnBridges,
  leaveBridges,
  leaveBridgesWhere,
  listRangeBridges,
  type RangeBridge,
} from '@heddle/podnet';
import type { Platform } from '@heddle/sys';
import type { EventLog } from '../../events.ts';
import type { Attachment } from './attachments.ts';

/** Milliseconds between two looks at what other networks have. */
const lookMs = 60_000;
/** While others have addresses, they may get more at any moment: what was read earlier than this is read again. */
const freshMs = 1000;

export interface OtherNetworksOptions {
  readonly platform: Platform;
  /** A socket in the network namespace of the node, in which the calling thread is too. */
  readonly node: NetlinkSocket;
  /** The directory of network settings; see Sysctls. */
  readonly sysctls: string;
  readonly events: EventLog;
  readonly pool: AddressPool;
  /** Returns Heddle's own pods. */
  readonly own: () => readonly Attachment[];
  readonly nowMs: () => number;
}

/**
 * The pods of other networks on this node, with addresses of its ranges: those that a network before Heddle has
 * connected, and those of one that comes after it. Their addresses are not given away until they are free, and they
 * and Heddle's pods reach each other.
 */
export class OtherNetworks implements Disposable {
  readonly #options: OtherNetworksOptions;
  #addresses: ReadonlySet<string> = new Set();
  #bridges: readonly RangeBridge[] = [];
  #lookedMs = Number.NEGATIVE_INFINITY;
  #timer: Disposable | undefined;
  #problem = '';

  constructor(options: OtherNetworksOptions) {
    this.#options = options;
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
  }

  /** Reads again, now and from time to time. */
  look(): void {
    const { platform, nowMs } = this.#options;
    this.#timer?.[Symbol.dispose]();
    this.#timer = platform.setTimer(lookMs, () => this.look());
    this.#lookedMs = nowMs();
    this.#attempt(() => {
      this.#readAddresses();
      this.#readBridges();
    });
  }

  /** Called before an address is given away. */
  beforeAllocation(): void {
    const age = this.#options.nowMs() - this.#lookedMs;
    if (this.#addresses.size > 0 && age > freshMs) this.look();
  }

  /** Lets the pods of others reach one of Heddle's. */
  add({ addresses }: Attachment): void {
    const { platform, node, sysctls } = this.#options;
    this.#attempt(() => {
      for (const address of addresses) {
        answerOnBridges(platform, node, this.#bridges, address, sysctls);
      }
    });
  }

  remove({ addresses }: Attachment): void {
    this.#attempt(() => {
      for (const address of addresses) leaveBridges(this.#options.node, this.#bridges, address);
    });
  }

  #readAddresses(): void {
    const { platform, node, pool, own, events, nowMs } = this.#options;
    const attachments = own();
    const links = new Set(attachments.map(({ ifindex }) => ifindex));
    const mine = new Set(attachments.flatMap(({ addresses }) => addresses));
    const found = addressesOfOthers(platform, node, ({ index }) => links.has(index));
    const others = new Set([...found].filter((each) => pool.has(each) && !mine.has(each)));
    pool.reserve([...others].filter((each) => !this.#addresses.has(each)));
    const freed = [...this.#addresses].filter((each) => !others.has(each) && !mine.has(each));
    pool.release(freed, nowMs());
    if (others.size !== this.#addresses.size) {
      const message = `${others.size} addresses for pods belong to others on this node; they are not given away`;
      events.add('info', 'agent', 'pods', message);
    }
    this.#addresses = others;
  }

  #readBridges(): void {
    const { node, pool, own } = this.#options;
    this.#bridges = listRangeBridges(node);
    const attachments = own();
    const mine = new Set(attachments.flatMap(({ addresses }) => addresses));
    leaveBridgesWhere(node, this.#bridges, (each) => pool.has(each) && !mine.has(each));
    for (const attachment of attachments) this.add(attachment);
  }

  /** Does work on links of others, which may vanish at any moment: that must not stop Heddle's own work. */
  #attempt(work: () => void): void {
    try {
      work();
      this.#problem = '';
    } catch (error) {
      const problem = `look at the pods of other networks: ${(error as Error).message}`;
      if (problem !== this.#problem) this.#options.events.add('warn', 'problem', 'pods', problem);
      this.#problem = problem;
    }
  }
}
