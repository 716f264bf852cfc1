import type { Platform } from '@heddle/sys';
import type { Bpf, Mapping } from './bpf.ts';
import type { BpfMap } from './map.ts';
import { mapTypes, nameOf } from './uapi.ts';

// linux/bpf.h: each record starts with 8 bytes, the first four being its length and these marks.
const HEADER = 8;
const BUSY = 0x80000000;
const DISCARD = 0x40000000;

/**
 * The reader of a ring buffer map. A map has one reader at a time.
 *
 * Positions and headers are read and written with Atomics, which pair with the kernel's store-release of
 * the producer's position and of a record's length: a record without busy mark is complete, also on
 * arm64, and its space is not released before it was read. (A wake-up by the kernel would order the first
 * record, but not those that other CPUs add while the loop runs.)
 */
export class RingBuffer implements Disposable {
  readonly #consumerMemory: Mapping;
  readonly #producerMemory: Mapping;
  readonly #consumer: BigUint64Array;
  readonly #producer: BigUint64Array;
  readonly #data: Uint8Array;
  readonly #headers: Uint32Array;
  readonly #size: number;
  readonly #onRecord: (record: Uint8Array) => void;
  readonly #name: string;
  #watch: Disposable | undefined;
  #position: number;
  #draining = false;

  /**
   * Calls `onRecord` for each record, from the event loop of `platform`, until disposed. The bytes
   * of a record lie in the ring itself and are valid during the call only. The caller keeps `map`
   * open meanwhile. Throws SysError, and TypeError for another type of map.
   */
  constructor(
    bpf: Bpf,
    map: BpfMap,
    onRecord: (record: Uint8Array) => void,
    platform: Pick<Platform, 'onReadable'> = bpf.platform,
  ) {
    const { type, maxEntries: size, name } = map.info;
    if (type !== mapTypes.ringbuf) {
      throw new TypeError(
        `read ring buffer ${name}: it is a map of type ${nameOf(mapTypes, type)}`,
      );
    }
    this.#name = name;
    const page = bpf.pageSize;
    // The consumer's page is writable. Behind it are the producer's page and the data, which is mapped
    // twice in a row so that no record is split.
    this.#consumerMemory = bpf.mapMemory(map.fd, page, 0, true);
    try {
      this.#producerMemory = bpf.mapMemory(map.fd, page + 2 * size, page, false);
    } catch (error) {
      this.#consumerMemory[Symbol.dispose]();
      throw error;
    }
    this.#consumer = longs(this.#consumerMemory.bytes);
    this.#producer = longs(this.#producerMemory.bytes);
    this.#data = this.#producerMemory.bytes.subarray(page);
    this.#headers = new Uint32Array(this.#data.buffer, this.#data.byteOffset, size / 4);
    this.#size = size;
    this.#onRecord = onRecord;
    this.#position = Number(Atomics.load(this.#consumer, 0));
    try {
      this.#watch = platform.onReadable(map.fd, () => this.drain());
    } catch (error) {
      this.#unmap();
      throw error;
    }
  }

  /**
   * Delivers the present records and returns the number of bytes of the ring that they used. Records that are
   * added meanwhile wait for the next turn of the event loop, so that a flood does not block it. Throws Error
   * once the ring buffer is closed.
   */
  drain(): number {
    if (!this.#watch) throw new Error(`use ring buffer ${this.#name}: it is closed`);
    const start = this.#position;
    const end = Number(Atomics.load(this.#producer, 0));
    this.#draining = true;
    try {
      while (this.#watch && this.#position < end && this.#deliver()) {}
    } finally {
      this.#draining = false;
      if (!this.#watch) this.#unmap();
    }
    return this.#position - start;
  }

  /** Delivers the record at the current position. Returns false while a program still writes it. */
  #deliver(): boolean {
    const at = this.#position % this.#size;
    const header = Atomics.load(this.#headers, at / 4);
    if (header & BUSY) return false;
    const length = header & ~(BUSY | DISCARD);
    try {
      if (!(header & DISCARD)) {
        this.#onRecord(this.#data.subarray(at + HEADER, at + HEADER + length));
      }
    } finally {
      this.#position += Math.ceil((length + HEADER) / 8) * 8;
      Atomics.store(this.#consumer, 0, BigInt(this.#position));
    }
    return true;
  }

  /** Stops reading. Unread records stay in the ring for the next reader. */
  [Symbol.dispose](): void {
    if (!this.#watch) return;
    this.#watch[Symbol.dispose]();
    this.#watch = undefined;
    // Called from onRecord, the memory is still in use.
    if (!this.#draining) this.#unmap();
  }

  #unmap(): void {
    this.#consumerMemory[Symbol.dispose]();
    this.#producerMemory[Symbol.dispose]();
  }
}

function longs(bytes: Uint8Array): BigUint64Array {
  return new BigUint64Array(bytes.buffer, bytes.byteOffset, 1);
}
