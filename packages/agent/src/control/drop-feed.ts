import type { Datapath, DropNotice } from '@heddle/datapath';
import type { DropEntry } from '../status.ts';
import type { Follow } from './server.ts';

/** Passes dropped packets to all followers; the kernel reports them only while there are some. */
export class DropFeed {
  /** Returns the pod at an interface as `namespace/name`, or undefined if no known pod is there. */
  readonly #podAt: (ifindex: number) => string | undefined;
  readonly #followers = new Set<Follow>();
  #watch: Disposable | undefined;

  constructor(podAt: (ifindex: number) => string | undefined) {
    this.#podAt = podAt;
  }

  follow(datapath: { readonly drops: Pick<Datapath['drops'], 'watch'> }, follower: Follow): void {
    this.#followers.add(follower);
    this.#watch ??= datapath.drops.watch((drop) => this.#report(drop));
  }

  #report(drop: DropNotice): void {
    const pod = this.#podAt(drop.ifindex);
    const entry: DropEntry = pod === undefined ? drop : { ...drop, pod };
    for (const follower of this.#followers) {
      if (!follower(entry)) this.#followers.delete(follower);
    }
    if (this.#followers.size > 0) return;
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
  }
}
