import { messageOf } from '../peers/back-off.ts';

/** The settings of a merge. */
export interface MergeSettings<T> {
  /** Returns the time by which items are ordered, in milliseconds. */
  readonly timeOf: (item: T) => number;
  /** A stream is read ahead by this many items at most. */
  readonly shareMax?: number;
  /** Items wait for a stream that has brought none for this time at most, in milliseconds. */
  readonly waitMs?: number;
  /** The same while a stream has its whole share waiting; `waitMs` if it is undefined. */
  readonly fullWaitMs?: number | undefined;
  /** A stream that brings nothing for this time is given up, in milliseconds; Infinity if it may be idle. */
  readonly silenceMs?: number;
}

interface Source<T> {
  readonly queue: { readonly item: T; readonly time: number }[];
  readonly iterator: AsyncIterator<T>;
  readonly onEnd: (problem: string) => void;
  isEnded: boolean;
  lastArrival: number;
  /** The time since which the queue is empty. */
  emptySince: number;
  /** Lets the source's reader go on when there is room. */
  hasRoom: () => void;
}

/**
 * Merges streams by time. Each stream keeps its own order and has its own share of memory, so that a fast one keeps
 * out no other one, and a slow one delays the others by `waitMs` at most. Streams can be added meanwhile.
 */
export class TimeMerge<T> {
  readonly #settings: Required<Omit<MergeSettings<T>, 'fullWaitMs'>> & {
    readonly fullWaitMs: number;
  };
  readonly #sources = new Set<Source<T>>();
  #wake: () => void = () => {};
  #isComplete = false;

  constructor(settings: MergeSettings<T>) {
    const { waitMs = 1000, fullWaitMs = waitMs } = settings;
    const { shareMax = 64, silenceMs = Number.POSITIVE_INFINITY } = settings;
    this.#settings = { ...settings, shareMax, waitMs, fullWaitMs, silenceMs };
  }

  /**
   * Adds a stream. `onEnd` is called when it has ended, with the reason if it failed or was given up, and with the
   * empty text otherwise.
   */
  add(stream: AsyncIterable<T>, onEnd: (problem: string) => void): void {
    const now = performance.now();
    const source: Source<T> = {
      ...{ queue: [], iterator: stream[Symbol.asyncIterator](), onEnd },
      ...{ isEnded: false, lastArrival: now, emptySince: now, hasRoom: () => {} },
    };
    this.#sources.add(source);
    void this.#fill(source);
    this.#wake();
  }

  /** Declares that no stream is added any more: the merge ends with the last of them. */
  complete(): void {
    this.#isComplete = true;
    this.#wake();
  }

  /** Returns the items until all streams have ended or `signal` aborts. Then all streams are ended. */
  async *read(signal: AbortSignal): AsyncGenerator<T> {
    const onAbort = () => this.#wake();
    signal.addEventListener('abort', onAbort);
    try {
      while (!signal.aborted) {
        this.#giveUpSilent();
        const next = this.#earliest();
        if (next && this.#isDue()) {
          const { item } = next.queue.shift()!;
          if (next.queue.length === 0) next.emptySince = performance.now();
          next.hasRoom();
          if (next.isEnded && next.queue.length === 0) this.#sources.delete(next);
          yield item;
        } else if (!next && this.#sources.size === 0 && this.#isComplete) {
          return;
        } else {
          await this.#change(this.#waitFor(next));
        }
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      for (const source of this.#sources) this.#end(source, '');
      this.#sources.clear();
    }
  }

  async #fill(source: Source<T>): Promise<void> {
    const { queue, iterator } = source;
    try {
      while (!source.isEnded) {
        const { done, value: item } = await iterator.next();
        if (done || source.isEnded) break;
        source.lastArrival = performance.now();
        queue.push({ item, time: this.#settings.timeOf(item) });
        this.#wake();
        if (queue.length < this.#settings.shareMax) continue;
        await new Promise<void>((resolve) => {
          source.hasRoom = resolve;
        });
        source.lastArrival = performance.now();
      }
      this.#end(source, '');
    } catch (error) {
      this.#end(source, messageOf(error));
    }
  }

  #end(source: Source<T>, problem: string): void {
    if (source.isEnded) return;
    source.isEnded = true;
    source.hasRoom();
    // A stream that does not end is not waited for.
    void Promise.resolve(source.iterator.return?.()).catch(() => {});
    if (source.queue.length === 0) this.#sources.delete(source);
    source.onEnd(problem);
    this.#wake();
  }

  #giveUpSilent(): void {
    const { silenceMs } = this.#settings;
    if (silenceMs === Number.POSITIVE_INFINITY) return;
    const now = performance.now();
    for (const source of this.#sources) {
      const isSilent = !source.isEnded && source.queue.length === 0;
      if (!isSilent || now - source.lastArrival < silenceMs) continue;
      this.#end(source, `it has sent nothing for ${silenceMs / 1000} s`);
    }
  }

  /** Returns the source with the earliest item. */
  #earliest(): Source<T> | undefined {
    let [earliest, least] = [undefined as Source<T> | undefined, Number.POSITIVE_INFINITY];
    for (const source of this.#sources) {
      const time = source.queue[0]?.time;
      if (time === undefined || (earliest && time >= least)) continue;
      [earliest, least] = [source, time];
    }
    return earliest;
  }

  /** Returns true if the earliest item waits for no other stream any more. */
  #isDue(): boolean {
    for (const { queue, isEnded } of this.#sources) {
      if (queue.length === 0 && !isEnded) return performance.now() >= this.#dueAt();
    }
    return true;
  }

  /** Returns the time until which items wait for streams that have none. */
  #dueAt(): number {
    const { shareMax, waitMs, fullWaitMs } = this.#settings;
    let [latest, isFull] = [0, false];
    for (const { queue, isEnded, emptySince } of this.#sources) {
      if (queue.length >= shareMax) isFull = true;
      if (queue.length === 0 && !isEnded) latest = Math.max(latest, emptySince);
    }
    return latest + (isFull ? fullWaitMs : waitMs);
  }

  /** Returns the milliseconds after which something has to be done without a change. */
  #waitFor(earliest: Source<T> | undefined): number {
    const now = performance.now();
    const times = [...this.#sources]
      .filter(({ queue, isEnded }) => queue.length === 0 && !isEnded)
      .map(({ lastArrival }) => lastArrival + this.#settings.silenceMs);
    if (earliest) times.push(this.#dueAt());
    return Math.max(0, Math.min(60_000, ...times.map((time) => time - now)));
  }

  #change(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake(), Math.ceil(milliseconds));
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = () => {};
        resolve();
      };
    });
  }
}
