import type { Datapath, DropNotice } from '@heddle/datapath';
import type { Feature } from '../feature.ts';
import type { DropEntry } from '../status.ts';
import type { Follow } from './server.ts';

/** The names of what a drop has numbers of. */
export type DropNames = Pick<Required<Feature>, 'podAt' | 'ruleAt'>;

/** Passes dropped packets to all followers; the kernel reports them only while there are some. */
export class DropFeed {
  readonly #names: DropNames;
  readonly #followers = new Set<Follow>();
  #watch: Disposable | undefined;

  constructor(names: DropNames) {
    this.#names = names;
  }

  follow(datapath: { readonly drops: Pick<Datapath['drops'], 'watch'> }, follower: Follow): void {
    this.#followers.add(follower);
    this.#watch ??= datapath.drops.watch((drop) => this.#report(drop));
  }

  #report(drop: DropNotice): void {
    const entry = this.#entryOf(drop);
    for (const follower of this.#followers) {
      if (!follower(entry)) this.#followers.delete(follower);
    }
    if (this.#followers.size > 0) return;
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
  }

  #entryOf(drop: DropNotice): DropEntry {
    const pod = this.#names.podAt(drop.ifindex);
    const rule = drop.policy?.rule;
    const deniedBy = rule === undefined ? undefined : this.#names.ruleAt(rule);
    return { ...drop, ...(pod === undefined ? {} : { pod }), ...(deniedBy && { deniedBy }) };
  }
}
