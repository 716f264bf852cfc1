/** A version of an entry; without `entry` it was removed. */
interface Change<Entry> {
  readonly revision: number;
  readonly key: string;
  readonly entry: Entry | undefined;
}

/** The progress of a reader. */
export interface Place {
  /** The revision of the last change that it has. */
  readonly revision: number;
  /** It needs the removals after this revision. While it reads a full list, that is the one at its begin. */
  readonly known: number;
}

/** The place of a reader that has nothing. */
export const start: Place = { revision: 0, known: 0 };

/** Changes in their order. */
export interface ChangesSince<Entry> {
  readonly changes: readonly { readonly key: string; readonly entry: Entry | undefined }[];
  /** The place behind them. */
  readonly place: Place;
  readonly hasMore: boolean;
  /** True if the list begins here, as removals since the wanted revision are not known any more. */
  readonly isFull: boolean;
}

/** The removals that are remembered by default. */
const defaultRemovals = 4096;

/**
 * Entries by key with the order of their changes, so that a reader gets only what has changed since it last read. It has
 * one change for each entry, and a limited number of removals.
 */
export class ChangeLog<Entry> {
  readonly #removals: number;
  /** The last change of each entry that is there. */
  readonly #current = new Map<string, Change<Entry>>();
  /** All changes by revision; one that is no longer the last of its entry is stale. */
  #log: Change<Entry>[] = [];
  #revision = 0;
  /** The revision of the last removal that was forgotten. */
  #forgotten = 0;

  constructor(removals = defaultRemovals) {
    this.#removals = removals;
  }

  get size(): number {
    return this.#current.size;
  }

  get(key: string): Entry | undefined {
    return this.#current.get(key)?.entry;
  }

  set(key: string, entry: Entry): void {
    const change = { revision: ++this.#revision, key, entry };
    this.#current.set(key, change);
    this.#add(change);
  }

  remove(key: string): void {
    if (!this.#current.delete(key)) return;
    this.#add({ revision: ++this.#revision, key, entry: undefined });
  }

  /** Returns the first changes after a place, at most `max`, which is 1 or more. */
  since({ revision, known }: Place, max: number): ChangesSince<Entry> {
    const isFull = revision === 0 || known < this.#forgotten || revision > this.#revision;
    const changes: Change<Entry>[] = [];
    let at = isFull ? 0 : firstAfter(this.#log, revision);
    for (; at < this.#log.length && changes.length < max; at++) {
      const change = this.#log[at]!;
      if (!this.#isStale(change)) changes.push(change);
    }
    if (at === this.#log.length) {
      const place = { revision: this.#revision, known: this.#revision };
      return { changes, hasMore: false, isFull, place };
    }
    const last = this.#log[at - 1]!.revision;
    const place = { revision: last, known: isFull ? this.#revision : Math.max(known, last) };
    return { changes, hasMore: true, isFull, place };
  }

  #add(change: Change<Entry>): void {
    this.#log.push(change);
    if (this.#log.length > 2 * (this.#current.size + this.#removals)) this.#compact();
  }

  /** A removal is stale once its entry is there again. */
  #isStale({ key, entry, revision }: Change<Entry>): boolean {
    const current = this.#current.get(key);
    return entry === undefined ? current !== undefined : current?.revision !== revision;
  }

  #compact(): void {
    const fresh = this.#log.filter((change) => !this.#isStale(change));
    let surplus = fresh.filter(({ entry }) => entry === undefined).length - this.#removals;
    this.#log = fresh.filter(({ entry, revision }) => {
      if (entry !== undefined || surplus-- <= 0) return true;
      this.#forgotten = revision;
      return false;
    });
  }
}

/** Returns the index of the first change after a revision. */
function firstAfter(log: readonly { readonly revision: number }[], revision: number): number {
  let [low, high] = [0, log.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (log[middle]!.revision <= revision) low = middle + 1;
    else high = middle;
  }
  return low;
}
