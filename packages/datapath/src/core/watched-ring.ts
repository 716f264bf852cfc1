import { type Bpf, type BpfMap, RingBuffer } from '@heddle/ebpf';

export interface WatchedRingParts {
  readonly bpf: Bpf;
  /** The map. */
  readonly ring: BpfMap;
  /** Sets whether the programs write records. */
  readonly setWatched: (watched: boolean) => void;
}

/** A ring buffer that the programs write only while somebody reads it. */
export class WatchedRing implements Disposable {
  readonly #parts: WatchedRingParts;
  #watch: Disposable | undefined;

  constructor(parts: WatchedRingParts) {
    this.#parts = parts;
  }

  /**
   * Calls `onRecord` for each record, until the result is disposed. There is one watcher at a time: a new one ends the
   * one before. Throws SysError.
   */
  watch(onRecord: (record: Uint8Array) => void): Disposable {
    const { bpf, ring, setWatched } = this.#parts;
    this.#watch?.[Symbol.dispose]();
    const reader = new RingBuffer(bpf, ring, onRecord);
    setWatched(true);
    const watch = {
      [Symbol.dispose]: () => {
        if (this.#watch !== watch) return;
        this.#watch = undefined;
        setWatched(false);
        reader[Symbol.dispose]();
      },
    };
    this.#watch = watch;
    return watch;
  }

  [Symbol.dispose](): void {
    this.#watch?.[Symbol.dispose]();
  }
}
