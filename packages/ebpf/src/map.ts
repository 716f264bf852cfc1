import { errno, SysError } from '@heddle/sys';
import type { Bpf, Mapping } from './bpf.ts';
import { BatchError, Incompatible } from './errors.ts';
import { type MapInfo, readMapInfo } from './info.ts';
import type { MapSpec } from './spec.ts';
import { BPF_ANY, BPF_EXIST, BPF_F_INNER_MAP, BPF_NOEXIST, mapTypes, nameOf } from './uapi.ts';

/** `any`: create or replace; `create`: EEXIST if there; `replace`: ENOENT if not there. */
export type UpdateMode = 'any' | 'create' | 'replace';

const updateFlags = { any: BPF_ANY, create: BPF_NOEXIST, replace: BPF_EXIST } as const;

/** Elements of a map, keys and values back to back. */
export interface MapChunk {
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
  readonly count: number;
}

/** The object's BTF, when a map shall know its types. */
export interface MapCreateContext {
  /** Descriptor of the loaded BTF. */
  readonly btf?: number;
}

const perCpuTypes: ReadonlySet<number> = new Set([
  mapTypes.percpu_hash,
  mapTypes.percpu_array,
  mapTypes.lru_percpu_hash,
  mapTypes.percpu_cgroup_storage,
]);

/** How often a map is asked again that says EAGAIN. */
const ATTEMPTS = 5;

/** Elements that one batched lookup asks for; grown when a hash bucket has more. */
const CHUNK = 1024;

/**
 * A map in the kernel. Keys and values are bytes in the host's order, exactly as the programs see
 * them. A per-CPU map's value is `info.valueSize` rounded up to 8 bytes, once for each possible
 * CPU. Maps of maps take a descriptor (u32) as the value and give back the inner map's id.
 * Errors are SysErrors that name the map and its size.
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

  /** The descriptor. Throws Error once the map is closed: its number may be another file's by then. */
  get fd(): number {
    if (this.#fd < 0) throw new Error(`use map ${this.info.name}: it is closed`);
    return this.#fd;
  }

  /** Creates a map. Contents of data sections are the loader's work. Throws SysError. */
  static create(bpf: Bpf, spec: MapSpec, context: MapCreateContext = {}): BpfMap {
    const inner = spec.inner && BpfMap.create(bpf, spec.inner);
    try {
      const typed = context.btf !== undefined && spec.valueTypeId !== 0 && keepsBtf(spec.type);
      const fd = bpf.mapCreate({
        name: spec.name,
        type: spec.type,
        keySize: spec.keySize,
        valueSize: spec.valueSize,
        maxEntries: maxEntriesOf(bpf, spec),
        flags: spec.flags,
        extra: spec.extra,
        innerMap: inner?.fd,
        btf: typed ? context.btf : undefined,
        keyTypeId: typed ? spec.keyTypeId : undefined,
        valueTypeId: typed ? spec.valueTypeId : undefined,
      });
      return new BpfMap(bpf, fd);
    } finally {
      inner?.[Symbol.dispose]();
    }
  }

  /**
   * Opens a pinned map. With `wanted`, throws Incompatible when it differs from that. Throws
   * SysError (ENOENT: no such pin).
   */
  static openPinned(bpf: Bpf, path: string, wanted?: MapSpec): BpfMap {
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

  /** Opens a map by its pin or id so that it can't be changed through it (EPERM). Throws SysError. */
  static openReadOnly(bpf: Bpf, place: string | number): BpfMap {
    const fd =
      typeof place === 'string'
        ? bpf.objectGet(place, 'read-only')
        : bpf.openId('map', place, 'read-only');
    return new BpfMap(bpf, fd);
  }

  /** A copy of the value, or undefined when there is no such element. */
  lookup(key: Uint8Array): Uint8Array | undefined {
    this.#checkLength('key', key, this.info.keySize);
    const value = new Uint8Array(this.valueBytes);
    try {
      return this.#bpf.mapLookup(this.fd, key, value) ? value : undefined;
    } catch (error) {
      throw this.#explained(error, 'look up in');
    }
  }

  update(key: Uint8Array, value: Uint8Array, mode: UpdateMode = 'any'): void {
    this.#checkLength('key', key, this.info.keySize);
    this.#checkLength('value', value, this.valueBytes);
    try {
      this.#bpf.mapUpdate(this.fd, key, value, updateFlags[mode]);
    } catch (error) {
      throw this.#explained(error, 'update');
    }
  }

  /** Removes an element; false when it wasn't there. */
  delete(key: Uint8Array): boolean {
    this.#checkLength('key', key, this.info.keySize);
    try {
      return this.#bpf.mapDelete(this.fd, key);
    } catch (error) {
      throw this.#explained(error, 'delete from');
    }
  }

  /**
   * All elements as [key, value], in the kernel's order, read in batches where it can. Elements
   * that are written meanwhile may be missed or seen twice. The bytes are the caller's to keep.
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

  /** The same in chunks, keys and values back to back: for many elements, without an object for each. */
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
      // Seen on Linux 6.18, once in thousands of starts on a busy machine; to ask again does no harm.
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

  /** Keys only, one system call each: for maps whose values can't be read. */
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
   * Writes `count` elements, keys and values back to back. Throws BatchError, whose `done` says
   * how many are in force.
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
        throw new BatchError(error, this.#what('update'), done);
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
        throw new BatchError(error, this.#what('update'), i);
      }
    }
  }

  /** Removes up to `count` elements, keys back to back; returns how many were there. */
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
        // The kernel stops at a missing element; the ones behind it are still wanted gone.
        at++;
      } else if (done === 0 && isUnsupported(error)) {
        break;
      } else {
        throw new BatchError(error, this.#what('delete from'), at);
      }
    }
    for (; at < count; at++) {
      if (this.delete(keys.subarray(at * keySize, (at + 1) * keySize))) removed++;
    }
    return removed;
  }

  /**
   * Maps an array with BPF_F_MMAPABLE into memory: its values in place, each at a multiple of
   * the value size rounded up to 8 bytes; only the first `count` of them, if that is given. Throws
   * SysError (EPERM once frozen, unless read-only).
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

  /** Makes the map reachable under `path`, which must be free and on a bpf file system. */
  pin(path: string): void {
    this.#bpf.objectPin(this.fd, path);
  }

  /** Refuses further changes from user space. */
  freeze(): void {
    try {
      this.#bpf.mapFreeze(this.fd);
    } catch (error) {
      throw this.#explained(error, 'freeze');
    }
  }

  /** Closes the descriptor; the map lives on while a program, pin or other descriptor holds it. */
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

  #what(verb: string): string {
    const { name, type, maxEntries } = this.info;
    return `${verb} map ${name} (${nameOf(mapTypes, type)}, at most ${maxEntries} elements)`;
  }

  #explained(error: unknown, verb: string): unknown {
    if (!(error instanceof SysError)) return error;
    return new SysError(error.syscall, error.errno, this.#what(verb));
  }
}

/** Whether a batch command is missing: EINVAL before Linux 5.6, ENOTSUPP for the map's type. */
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
function maxEntriesOf(bpf: Bpf, spec: MapSpec): number {
  const perCpu = spec.type === mapTypes.perf_event_array && spec.maxEntries === 0;
  return perCpu ? bpf.possibleCpus : spec.maxEntries;
}

/**
 * What keeps an existing map from being used as `wanted`, in words; empty when nothing does.
 * Names aren't compared: the kernel keeps 15 bytes of them.
 */
export function compatibility(existing: MapInfo, wanted: MapSpec): string[] {
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
  const flags = (value: number) => `0x${(value & ~BPF_F_INNER_MAP).toString(16)}`;
  compare('flags', flags(existing.flags), flags(wanted.flags));
  compare('map_extra', existing.extra, wanted.extra);
  return differences;
}
