import type { MapCreateOptions } from '@heddle/ebpf';
import { errno } from '@heddle/sys';
import type { Machine } from '../machine.ts';

/** Returns a view of bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * A map. Operations return 0 (or a positive result) or -errno, as in the kernel. Those on bytes are of
 * bpf(2), those on views are of programs.
 */
export abstract class VmMap {
  readonly options: MapCreateOptions;
  /** The region of pointers to the map itself. */
  readonly region: number;
  protected readonly machine: Machine;
  frozen = false;

  constructor(machine: Machine, options: MapCreateOptions) {
    this.machine = machine;
    this.options = options;
    this.region = machine.memory.add({ kind: 'map', map: this });
  }

  /** The size of a value for bpf(2). */
  get valueBytes(): number {
    return this.options.valueSize;
  }

  /** Copies the value to `value`, for bpf(2). */
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
   * Copies up to `count` elements from the slot `from` on; absent for maps without batches. Returns the
   * slot of the next batch, or -1 at the end.
   */
  readBatch?(
    from: number,
    count: number,
    keys: Uint8Array,
    values: Uint8Array,
  ): { done: number; next: number };

  /** Returns true if batches can delete, which is not so for arrays. */
  get deletesBatches(): boolean {
    return false;
  }

  /** Looks up for a program: returns the region of the value, or of the map that is the value; 0: none. */
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

  /** Returns the region of the only value of a data section, for instructions with its address. */
  directValue(): number {
    return 0;
  }

  /** Visits the elements for bpf_for_each_map_elem, until `visit` returns true. */
  walk?(visit: (slot: number) => boolean): void;

  /** Returns the regions of the key and the value of a slot, for `visit`. */
  elementRegions?(slot: number): { key: number; value: number };

  /** Returns the memory for mmap(2), or undefined for maps that can't be mapped. */
  mapping(_length: number, _offset: number, _writable: boolean): Uint8Array | undefined {
    return undefined;
  }

  stopTimers(): void {
    this.machine.timers.forget(this);
  }

  /** Releases the regions and references of the map. */
  dispose(): void {
    this.stopTimers();
    this.machine.memory.remove(this.region);
  }
}
