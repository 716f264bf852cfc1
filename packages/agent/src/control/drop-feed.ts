import type { Datapath, DropNotice } from '@heddle/datapath';
import type { Follow } from './server.ts';

/** Passes dropped packets to all followers; the kernel reports them only while there are some. */
export class DropFeed {
  readonly #followers = new Set<Follow>();
  #watch: Disposable | undefined;

  follow(datapath: { readonly drops: Pick<Datapath['drops'], 'watch'> }, follower: Follow): void {
    this.#followers.add(follower);
    this.#watch ??= datapath.drops.watch((drop) => this.#report(drop));
  }

  #report(drop: DropNotice): void {
    for (const follower of this.#followers) {
      if (!follower(drop)) this.#followers.delete(follower);
    }
    if (this.#followers.size > 0) return;
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
  }
}
