import { deleteLink, findLink, type NetlinkSocket } from '@heddle/netlink';
import type { Platform } from '@heddle/sys';

/** The kernel takes some 30 ms to remove a link, in which the agent does nothing else. */
const pauseMs = 300;

/** Removes links one by one, with time for other work between them. */
export class LinkRemover implements Disposable {
  readonly #platform: Platform;
  readonly #node: NetlinkSocket;
  /** The names of links to remove by ifindex. */
  readonly #waiting = new Map<number, string>();
  #timer: Disposable | undefined;

  constructor(platform: Platform, node: NetlinkSocket) {
    this.#platform = platform;
    this.#node = node;
  }

  /** Removes a link soon, if it has this name then. */
  add({ index, name }: { readonly index: number; readonly name: string }): void {
    this.#waiting.set(index, name);
    this.#schedule();
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
  }

  #schedule(): void {
    if (this.#timer || this.#waiting.size === 0) return;
    this.#timer = this.#platform.setTimer(pauseMs, () => {
      this.#timer = undefined;
      const [[index, name]] = this.#waiting as unknown as [[number, string]];
      this.#waiting.delete(index);
      this.#schedule();
      if (findLink(this.#node, index)?.name === name) deleteLink(this.#node, index);
    });
  }
}
