import type { MapCreateOptions } from '@heddle/ebpf';
import { errno } from '@heddle/sys';
import type { Machine } from '../machine.ts';

/** Views bytes for reading numbers. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * A map. Operations answer 0 (or something that isn't negative) or -errno, as the kernel's do.
 * Those on bytes are bpf(2)'s, those on views are a program's.
 */
export abstract class VmMap {
  readonly options: MapCreateOptions;
  /** Region that pointers to the map itself lead to. */
  readonly region: number;
  protected readonly machine: Machine;
  frozen = false;

  constructor(machine: Machine, options: MapCreateOptions) {
    this.machine = machine;
    this.options = options;
    this.region = machine.memory.add({ kind: 'map', map: this });
  }

  /** Bytes of a value as bpf(2) sees it. */
  get valueBytes(): number {
    return this.options.valueSize;
  }

  /** bpf(2): copies the value into `value`. */
  lookup(_key: Uint8Array, _value: Uint8Array): number {
    return -errno.ENOTSUPP;
  }

  update(_key: Uint8Array, _value: Uint8Array, _flags: number): number {
    return -errno.ENOTSUPP;
  }

  delete(_key: Uint8Array): number {
    return -errno.ENOTSUPP;
  }

  nextKey(_key: Uint8Array | undefined, _next: Uint8Array): number {
    return -errno.ENOTSUPP;
  }

  /**
   * Copies up to `count` elements from the slot `from` on; absent where a map can't be read so.
   * Answers where the next batch begins, or -1 at the end.
   */
  readBatch?(
    from: number,
    count: number,
    keys: Uint8Array,
    values: Uint8Array,
  ): { done: number; next: number };

  /** Whether a batch of deletions is possible (not on arrays). */
  get deletesBatches(): boolean {
    return false;
  }

  /** A program's lookup: region of the value, or of the map that is the value; 0: none. */
  find(_key: DataView, _at: number): number {
    return 0;
  }

  store(
    _key: DataView,
    _keyAt: number,
    _value: DataView,
    _valueAt: number,
    _flags: number,
  ): number {
    return -errno.ENOTSUPP;
  }

  remove(_key: DataView, _at: number): number {
    return -errno.ENOTSUPP;
  }

  /** Region of a data section's only value, for instructions that carry its address. */
  directValue(): number {
    return 0;
  }

  /** Visits the elements for bpf_for_each_map_elem; stops when `visit` says so. */
  walk?(visit: (slot: number) => boolean): void;

  /** Region with the key of a slot, and of its value, for the visitor above. */
  elementRegions?(slot: number): { key: number; value: number };

  /** Memory that mmap(2) shares; undefined where it can't be mapped. */
  mapping(_length: number, _offset: number, _writable: boolean): Uint8Array | undefined {
    return undefined;
  }

  stopTimers(): void {
    this.machine.timers.forget(this);
  }

  /** Gives back regions, and what the map holds on to. */
  dispose(): void {
    this.stopTimers();
    this.machine.memory.remove(this.region);
  }
}
