import type { MapCreateOptions } from '@heddle/ebpf';
import { errno } from '@heddle/sys';
import type { Machine } from '../machine.ts';
import { VmMap } from './map.ts';

const HEADER = 8;
const BUSY = 0x80000000;
const DISCARD = 0x40000000;
const PAGE = 4096;

const NO_WAKEUP = 1;

/**
 * A ring buffer with the memory that the kernel shares with its reader: a page with the consumer's
 * position, one with the producer's, and the data twice in a row. Here nothing is mapped twice: a record
 * that crosses the end of the ring continues in the second half, where its reader expects it.
 */
export class RingBufferMap extends VmMap {
  readonly #bytes: Uint8Array;
  readonly #positions: BigUint64Array;
  readonly #headers: Uint32Array;
  readonly #size: number;
  /** The offset of each reserved record that is not submitted yet, by region. */
  readonly #reserved = new Map<number, number>();
  /** Called when records are ready. */
  readonly watchers = new Set<() => void>();

  constructor(machine: Machine, options: MapCreateOptions) {
    super(machine, options);
    this.#size = options.maxEntries;
    this.#bytes = new Uint8Array(2 * PAGE + 2 * this.#size);
    this.#positions = new BigUint64Array(this.#bytes.buffer);
    this.#headers = new Uint32Array(this.#bytes.buffer, 2 * PAGE);
  }

  /** Returns true if there are records to read. */
  get hasRecords(): boolean {
    return this.#consumer < this.#producer;
  }

  /** bpf_ringbuf_reserve: returns the region of the record, or 0 when there is no room. */
  reserve(size: number): number {
    const length = Math.ceil((size + HEADER) / 8) * 8;
    const producer = this.#producer;
    if (size > this.#size - HEADER || producer + length - this.#consumer >= this.#size) return 0;
    const at = producer % this.#size;
    this.#headers[at / 4] = size | BUSY;
    this.#positions[PAGE / 8] = BigInt(producer + length);
    const start = 2 * PAGE + at + HEADER;
    const owner = { kind: 'record', map: this.options.name } as const;
    const region = this.machine.memory.add(owner, this.#bytes.subarray(start, start + size));
    this.#reserved.set(region, at);
    return region;
  }

  /** Returns true if the region is a reserved record of this ring. */
  owns(region: number): boolean {
    return this.#reserved.has(region);
  }

  /** bpf_ringbuf_submit and bpf_ringbuf_discard. */
  finish(region: number, flags: number, discard: boolean): void {
    const at = this.#reserved.get(region)!;
    this.#reserved.delete(region);
    this.machine.memory.retire(region);
    const length = this.#headers[at / 4]! & ~BUSY;
    this.#headers[at / 4] = (discard ? length | DISCARD : length) >>> 0;
    if (!(flags & NO_WAKEUP)) for (const wake of this.watchers) wake();
  }

  /** bpf_ringbuf_output: returns 0 or -errno. */
  output(data: Uint8Array, flags: number): number {
    const region = this.reserve(data.length);
    if (region === 0) return -errno.EAGAIN;
    const view = this.machine.memory.views[region]!;
    new Uint8Array(view.buffer, view.byteOffset, view.byteLength).set(data);
    this.finish(region, flags, false);
    return 0;
  }

  /** bpf_ringbuf_query. */
  query(what: number): number {
    switch (what) {
      case 0:
        return this.#producer - this.#consumer;
      case 1:
        return this.#size;
      case 2:
        return this.#consumer;
      case 3:
        return this.#producer;
      default:
        return 0;
    }
  }

  override mapping(length: number, offset: number): Uint8Array | undefined {
    return offset + length > this.#bytes.length
      ? undefined
      : this.#bytes.subarray(offset, offset + length);
  }

  get #consumer(): number {
    return Number(this.#positions[0]);
  }

  get #producer(): number {
    return Number(this.#positions[PAGE / 8]);
  }
}
