import { errno, SysError } from '@heddle/sys';
import type { Bpf, Mapping } from './bpf.ts';
import { BatchError, Incompatible, KeyExists, KeyNotFound, MapFull } from './errors.ts';
import { type MapInfo, readMapInfo } from './info.ts';
import {
  BPF_ANY,
  BPF_EXIST,
  BPF_F_INNER_MAP,
  BPF_F_RDONLY_PROG,
  BPF_NOEXIST,
  mapTypes,
  nameOf,
} from './uapi.ts';

/** `any` creates or replaces; `create` throws KeyExists, `replace` throws KeyNotFound. */
export type UpdateMode = 'any' | 'create' | 'replace';

const updateFlags = { any: BPF_ANY, create: BPF_NOEXIST, replace: BPF_EXIST } as const;

/** Elements of a map, keys and values back to back. */
export interface MapChunk {
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
  readonly count: number;
}

/** The properties of a new map. Each MapSpec is one. */
export interface MapOptions {
  /** BPF_MAP_TYPE_* (`mapTypes`). */
  readonly type: number;
  /** Bytes of a key. */
  readonly keySize: number;
  /** Bytes of a value; of a per-CPU map, of the value of one CPU. */
  readonly valueSize: number;
  readonly maxEntries: number;
  /** The kernel keeps 15 bytes of it. If absent, the map has no name. */
  readonly name?: string;
  /** BPF_F_*. The default is 0. */
  readonly flags?: number;
  /** `map_extra`. The default is 0. */
  readonly extra?: bigint;
  /** Properties of the members of a map of maps. */
  readonly inner?: MapOptions | undefined;
  /** BTF type ids of key and value; absent or 0: the map has no types. */
  readonly keyTypeId?: number;
  readonly valueTypeId?: number;
}

const perCpuTypes: ReadonlySet<number> = new Set([
  mapTypes.percpu_hash,
  mapTypes.percpu_array,
  mapTypes.lru_percpu_hash,
  mapTypes.percpu_cgroup_storage,
]);

/** The number of times that a listing is tried that fails with EAGAIN. */
const ATTEMPTS = 5;

/** Elements that one batched lookup asks for; doubled when a hash bucket has more. */
const CHUNK = 1024;

/**
 * A map in the kernel. Keys and values are bytes in the host's order, exactly as the programs see
 * them; `TypedMap` encodes them. A value of a per-CPU map is `info.valueSize` rounded up to 8 bytes,
 * once for each possible CPU. A map of maps takes a descriptor (u32) as the value and returns the id
 * of the inner map. Errors are SysErrors that name the map.
 */
export class BpfMap implements Disposable {
  readonly info: MapInfo;
  /** Bytes of a value on this side of the system call. */
  readonly valueBytes: number;
  readonly #bpf: Bpf;
  /** Negative once closed. */
  #fd: number;
  #batch = true;

  /** Takes over `fd`. */
  constructor(bpf: Bpf, fd: number) {
    this.#bpf = bpf;
    this.#fd = fd;
    try {
      this.info = readMapInfo(bpf, fd);
    } catch (error) {
      bpf.close(fd);
      throw error;
    }
    const { type, valueSize } = this.info;
    this.valueBytes = perCpuTypes.has(type)
      ? Math.ceil(valueSize / 8) * 8 * bpf.possibleCpus
      : valueSize;
  }

  /** The descriptor. Throws Error once the map is closed: another file may have its number by then. */
  get fd(): number {
    if (this.#fd < 0) throw new Error(`use map ${this.info.name}: it is closed`);
    return this.#fd;
  }

  /**
   * Creates an empty map. `btf` is the descriptor of the BTF that has the types of key and value.
   * Throws SysError.
   */
  static create(bpf: Bpf, options: MapOptions, btf?: number): BpfMap {
    const { type, keyTypeId = 0, valueTypeId = 0 } = options;
    const inner = options.inner && BpfMap.create(bpf, options.inner);
    try {
      const typed = btf !== undefined && valueTypeId !== 0 && keepsBtf(type);
      const fd = bpf.mapCreate({
        name: options.name ?? '',
        type,
        keySize: options.keySize,
        valueSize: options.valueSize,
        maxEntries: maxEntriesOf(bpf, options),
        flags: options.flags ?? 0,
        extra: options.extra,
        innerMap: inner?.fd,
        ...(typed && { btf, keyTypeId, valueTypeId }),
      });
      return new BpfMap(bpf, fd);
    } finally {
      inner?.[Symbol.dispose]();
    }
  }

  /**
   * Opens a pinned map. Throws Incompatible if it differs from `wanted`, and SysError (ENOENT if
   * there is no such pin).
   */
  static openPinned(bpf: Bpf, path: string, wanted?: MapOptions): BpfMap {
    const map = new BpfMap(bpf, bpf.objectGet(path));
    const differences = wanted ? compatibility(map.info, wanted) : [];
    if (differences.length === 0) return map;
    map[Symbol.dispose]();
    throw new Incompatible(`pinned map ${path}`, differences);
  }

  /** Opens a map by its id. Throws SysError. */
  static fromId(bpf: Bpf, id: number): BpfMap {
    return new BpfMap(bpf, bpf.openId('map', id));
  }

  /**
   * Opens a map by its pin or id for reading: writing to it through this handle fails with EPERM.
   * Throws SysError.
   */
  static openReadOnly(bpf: Bpf, place: string | number): BpfMap {
    const fd =
      typeof place === 'string'
        ? bpf.objectGet(place, 'read-only')
        : bpf.openId('map', place, 'read-only');
    return new BpfMap(bpf, fd);
  }

  /** Returns a copy of the value, or undefined when there is no such element. Throws SysError. */
  lookup(key: Uint8Array): Uint8Array | undefined {
    this.#checkLength('key', key, this.info.keySize);
    const value = new Uint8Array(this.valueBytes);
    try {
      return this.#bpf.mapLookup(this.fd, key, value) ? value : undefined;
    } catch (error) {
      throw this.#explained(error, 'look up in');
    }
  }

  /** Writes an element. Throws KeyExists, KeyNotFound, MapFull or another SysError. */
  update(key: Uint8Array, value: Uint8Array, mode: UpdateMode = 'any'): void {
    this.#checkLength('key', key, this.info.keySize);
    this.#checkLength('value', value, this.valueBytes);
    try {
      this.#bpf.mapUpdate(this.fd, key, value, updateFlags[mode]);
    } catch (error) {
      throw this.#explained(error, 'update');
    }
  }

  /** Removes an element and returns whether it existed. Throws SysError. */
  delete(key: Uint8Array): boolean {
    this.#checkLength('key', key, this.info.keySize);
    try {
      return this.#bpf.mapDelete(this.fd, key);
    } catch (error) {
      throw this.#explained(error, 'delete from');
    }
  }

  /**
   * Returns all elements as [key, value], in the kernel's order, read in batches where the kernel
   * can. Elements that are written meanwhile may be missed or returned twice. The caller may keep
   * the bytes. Throws SysError.
   */
  *entries(): Generator<[key: Uint8Array, value: Uint8Array]> {
    const { keySize } = this.info;
    for (const { keys, values, count } of this.chunks()) {
      for (let i = 0; i < count; i++) {
        yield [
          keys.subarray(i * keySize, (i + 1) * keySize),
          values.subarray(i * this.valueBytes, (i + 1) * this.valueBytes),
        ];
      }
    }
  }

  /** Returns all elements in chunks, keys and values back to back, without an object for each. */
  *chunks(): Generator<MapChunk> {
    const { keySize } = this.info;
    let position: Uint8Array | undefined;
    let chunk = Math.min(CHUNK, Math.max(this.info.maxEntries, 1));
    let attempts = ATTEMPTS;
    while (this.#batch) {
      const nextPosition = new Uint8Array(Math.max(keySize, 4));
      const keys = new Uint8Array(chunk * keySize);
      const values = new Uint8Array(chunk * this.valueBytes);
      const request = { position, nextPosition, keys, values, count: chunk };
      const { count, error } = this.#bpf.mapLookupBatch(this.fd, request);
      // Linux 6.18 fails so once in thousands of starts on a busy machine. A second try succeeds.
      if (error?.errno === errno.EAGAIN && --attempts > 0) continue;
      if (error?.errno === errno.ENOSPC) {
        chunk *= 2;
        continue;
      }
      const atEnd = error?.errno === errno.ENOENT;
      if (error && !atEnd) {
        if (position !== undefined || !isUnsupported(error)) {
          throw this.#explained(error, 'list');
        }
        this.#batch = false;
        break;
      }
      yield { keys, values, count };
      if (atEnd) return;
      position = nextPosition;
    }
    for (const key of this.keys()) {
      const values = this.lookup(key);
      if (values) yield { keys: key.slice(), values, count: 1 };
    }
  }

  /** Returns the keys, one system call each: for maps whose values can't be read. */
  *keys(): Generator<Uint8Array> {
    let key: Uint8Array | undefined;
    for (;;) {
      const next = new Uint8Array(this.info.keySize);
      try {
        if (!this.#bpf.mapNextKey(this.fd, key, next)) return;
      } catch (error) {
        throw this.#explained(error, 'list');
      }
      yield next;
      key = next;
    }
  }

  /**
   * Writes `count` elements, keys and values back to back. Throws BatchError, whose `done` is the
   * number of elements that were written.
   */
  updateBatch(keys: Uint8Array, values: Uint8Array, count: number): void {
    const { keySize } = this.info;
    this.#checkLength('keys', keys, count * keySize);
    this.#checkLength('values', values, count * this.valueBytes);
    if (count === 0) return;
    if (this.#batch) {
      const { count: done, error } = this.#bpf.mapUpdateBatch(this.fd, keys, values, count);
      if (!error) return;
      if (done > 0 || !isUnsupported(error)) {
        throw new BatchError(this.#explained(error, 'update'), done);
      }
      this.#batch = false;
    }
    for (let i = 0; i < count; i++) {
      try {
        this.#bpf.mapUpdate(
          this.fd,
          keys.subarray(i * keySize, (i + 1) * keySize),
          values.subarray(i * this.valueBytes, (i + 1) * this.valueBytes),
          BPF_ANY,
        );
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
        throw new BatchError(this.#explained(error, 'update'), i);
      }
    }
  }

  /** Removes `count` elements, keys back to back, and returns how many existed. Throws BatchError. */
  deleteBatch(keys: Uint8Array, count: number): number {
    const { keySize } = this.info;
    this.#checkLength('keys', keys, count * keySize);
    let removed = 0;
    let at = 0;
    while (this.#batch && at < count) {
      const rest = keys.subarray(at * keySize);
      const { count: done, error } = this.#bpf.mapDeleteBatch(this.fd, rest, count - at);
      removed += done;
      at += done;
      if (!error) return removed;
      if (error.errno === errno.ENOENT) {
        // The kernel stops at a missing element; those behind it must be removed as well.
        at++;
      } else if (done === 0 && isUnsupported(error)) {
        break;
      } else {
        throw new BatchError(this.#explained(error, 'delete from'), at);
      }
    }
    for (; at < count; at++) {
      if (this.delete(keys.subarray(at * keySize, (at + 1) * keySize))) removed++;
    }
    return removed;
  }

  /**
   * Maps an array with BPF_F_MMAPABLE into memory: its values in place, each at a multiple of
   * the value size rounded up to 8 bytes; with `count`, only the first ones. Throws SysError (EPERM
   * for writable memory of a frozen map).
   */
  mmap(writable = true, count = this.info.maxEntries): Mapping {
    const size = Math.ceil(this.info.valueSize / 8) * 8 * count;
    const page = this.#bpf.pageSize;
    const length = Math.ceil(size / page) * page;
    const memory = this.#bpf.mapMemory(this.fd, length, 0, writable);
    const { name } = this.info;
    let bytes: Uint8Array | undefined = memory.bytes.subarray(0, size);
    return {
      get bytes() {
        if (!bytes) throw new Error(`use memory of map ${name}: it is closed`);
        return bytes;
      },
      [Symbol.dispose]() {
        bytes = undefined;
        memory[Symbol.dispose]();
      },
    };
  }

  /** Pins the map at `path`, which must be free and on a bpf file system. Throws SysError. */
  pin(path: string): void {
    this.#bpf.objectPin(this.fd, path);
  }

  /** Makes the map read-only for user space, for good. Throws SysError. */
  freeze(): void {
    try {
      this.#bpf.mapFreeze(this.fd);
    } catch (error) {
      throw this.#explained(error, 'freeze');
    }
  }

  /** Closes the descriptor. The map remains while a program, pin or other descriptor refers to it. */
  [Symbol.dispose](): void {
    if (this.#fd < 0) return;
    this.#bpf.close(this.#fd);
    this.#fd = -1;
  }

  #checkLength(what: string, bytes: Uint8Array, wanted: number): void {
    if (bytes.length !== wanted) {
      // The kernel would read or write past the end of the array.
      throw new RangeError(
        `use map ${this.info.name}: ${what} has ${bytes.length} bytes, not ${wanted}`,
      );
    }
  }

  /** Rethrows what is no SysError. */
  #explained(error: unknown, verb: string): SysError {
    if (!(error instanceof SysError)) throw error;
    const { name, type, maxEntries } = this.info;
    const what = `${verb} map ${name}`;
    if (verb !== 'update') return error.about(what);
    switch (error.errno) {
      case errno.ENOENT:
        return new KeyNotFound(what, error);
      case errno.EEXIST:
        return new KeyExists(what, error);
      case errno.E2BIG:
        if (arrayTypes.has(type)) {
          const words = `the index is not below ${maxEntries}`;
          return new SysError('bpf', error.errno, what, { words, cause: error });
        }
        return new MapFull(what, maxEntries, error);
      case errno.ENOSPC:
        return new MapFull(what, maxEntries, error);
      default:
        return error.about(what);
    }
  }
}

/** Map types whose keys are indices: a key that is too large gives E2BIG. */
const arrayTypes: ReadonlySet<number> = new Set([
  mapTypes.array,
  mapTypes.percpu_array,
  mapTypes.prog_array,
  mapTypes.perf_event_array,
  mapTypes.cgroup_array,
  mapTypes.array_of_maps,
  mapTypes.devmap,
  mapTypes.cpumap,
  mapTypes.xskmap,
  mapTypes.sockmap,
]);

/** Returns true if a batch command is missing: EINVAL before Linux 5.6, ENOTSUPP for the type of map. */
function isUnsupported(error: SysError): boolean {
  return error.errno === errno.ENOTSUPP || error.errno === errno.EINVAL;
}

const untyped: ReadonlySet<number> = new Set([
  mapTypes.perf_event_array,
  mapTypes.cgroup_array,
  mapTypes.stack_trace,
  mapTypes.array_of_maps,
  mapTypes.hash_of_maps,
  mapTypes.devmap,
  mapTypes.devmap_hash,
  mapTypes.cpumap,
  mapTypes.xskmap,
  mapTypes.sockmap,
  mapTypes.sockhash,
  mapTypes.queue,
  mapTypes.stack,
  mapTypes.prog_array,
]);

/** Map types that refuse BTF type ids (map_check_btf in kernel/bpf/syscall.c). */
function keepsBtf(type: number): boolean {
  return !untyped.has(type);
}

/** A perf event array without a size means one slot per CPU. */
function maxEntriesOf(bpf: Bpf, { type, maxEntries }: MapOptions): number {
  const perCpu = type === mapTypes.perf_event_array && maxEntries === 0;
  return perCpu ? bpf.possibleCpus : maxEntries;
}

/** Flags that the kernel sets by itself: of members of maps of maps, and of device maps. */
const kernelFlags = (type: number) =>
  type === mapTypes.devmap || type === mapTypes.devmap_hash
    ? BPF_F_INNER_MAP | BPF_F_RDONLY_PROG
    : BPF_F_INNER_MAP;

/**
 * Returns the differences that keep an existing map from being used as `wanted`, one sentence each.
 * Names are not compared: the kernel keeps 15 bytes of them.
 */
export function compatibility(existing: MapInfo, wanted: MapOptions): string[] {
  const differences: string[] = [];
  const compare = (what: string, is: unknown, should: unknown) => {
    if (is !== should) differences.push(`${what} is ${is}, wanted ${should}`);
  };
  compare('type', nameOf(mapTypes, existing.type), nameOf(mapTypes, wanted.type));
  compare('key size', existing.keySize, wanted.keySize);
  compare('value size', existing.valueSize, wanted.valueSize);
  if (wanted.type !== mapTypes.perf_event_array || wanted.maxEntries !== 0) {
    compare('maximum of entries', existing.maxEntries, wanted.maxEntries);
  }
  const flags = (value = 0) => `0x${(value & ~kernelFlags(wanted.type)).toString(16)}`;
  compare('flags', flags(existing.flags), flags(wanted.flags));
  compare('map_extra', existing.extra, wanted.extra ?? 0n);
  return differences;
}
