import { type MapCreateOptions, mapTypes } from '@heddle/ebpf';
import { nameOf } from '@heddle/ebpf/internal';
import { errno, SysError } from '@heddle/sys';
import type { Machine } from '../machine.ts';
import type { VmObject } from '../objects.ts';
import { ArrayKeys, HashKeys } from './keys.ts';
import { LpmKeys } from './lpm-keys.ts';
import { LruKeys } from './lru-keys.ts';
import type { VmMap } from './map.ts';
import { ReferenceMap } from './reference-map.ts';
import { RingBufferMap } from './ring-buffer.ts';
import { StorageMap } from './storage-map.ts';
import { ValueMap } from './value-map.ts';

/** BPF_F_NO_PREALLOC. */
const NO_PREALLOC = 1;
const PAGE = 4096;

/**
 * Creates a map. `resolve` returns the object of a descriptor, for maps of maps or programs. `chunkBytes` is
 * for hash maps that exist in large numbers (see ValueMap). Throws SysError (EINVAL for properties that
 * the kernel refuses, and for types that are not simulated).
 */
export function createMap(
  machine: Machine,
  options: MapCreateOptions,
  resolve: (fd: number, kind: VmObject['kind']) => VmObject | undefined,
  chunkBytes?: number,
): VmMap {
  const { type, keySize, valueSize, maxEntries, flags } = options;
  const refuse = (why: string): never => {
    throw new SysError('bpf', errno.EINVAL, `create map ${options.name} (${why})`);
  };
  const check = (fits: boolean, why: string) => fits || refuse(why);
  const isStorage = type === mapTypes.sk_storage;
  if (!isStorage) check(maxEntries > 0, 'no room for any element');
  const perCpu =
    type === mapTypes.percpu_array ||
    type === mapTypes.percpu_hash ||
    type === mapTypes.lru_percpu_hash;
  switch (type) {
    case mapTypes.array:
    case mapTypes.percpu_array:
      check(keySize === 4, 'keys of an array have 4 bytes');
      check(valueSize > 0, 'values have no bytes');
      return new ValueMap(machine, options, () => new ArrayKeys(maxEntries), perCpu);
    case mapTypes.hash:
    case mapTypes.percpu_hash:
      check(keySize > 0 && valueSize > 0, 'keys or values have no bytes');
      return new ValueMap(
        machine,
        options,
        () => new HashKeys(keySize, maxEntries),
        perCpu,
        chunkBytes,
      );
    case mapTypes.lru_hash:
    case mapTypes.lru_percpu_hash:
      check(keySize > 0 && valueSize > 0, 'keys or values have no bytes');
      if (flags & NO_PREALLOC) {
        throw new SysError(
          'bpf',
          errno.ENOTSUPP,
          `create map ${options.name} (LRU maps are preallocated)`,
        );
      }
      return new ValueMap(
        machine,
        options,
        (onEvict) => new LruKeys(keySize, maxEntries, onEvict),
        perCpu,
        chunkBytes,
      );
    case mapTypes.lpm_trie:
      check(keySize > 4 && keySize <= 260 && valueSize > 0, 'a prefix has 5 to 260 bytes');
      check((flags & NO_PREALLOC) !== 0, 'a trie wants BPF_F_NO_PREALLOC');
      return new ValueMap(machine, options, () => new LpmKeys(keySize, maxEntries), false);
    case mapTypes.prog_array:
      check(keySize === 4 && valueSize === 4, 'keys and values have 4 bytes');
      return new ReferenceMap(machine, options, new ArrayKeys(maxEntries), (fd) =>
        resolve(fd, 'program'),
      );
    case mapTypes.array_of_maps:
      check(keySize === 4 && valueSize === 4, 'keys and values have 4 bytes');
      return new ReferenceMap(machine, options, new ArrayKeys(maxEntries), (fd) =>
        resolve(fd, 'map'),
      );
    case mapTypes.hash_of_maps:
      check(keySize > 0 && valueSize === 4, 'values have 4 bytes');
      return new ReferenceMap(machine, options, new HashKeys(keySize, maxEntries), (fd) =>
        resolve(fd, 'map'),
      );
    case mapTypes.sk_storage:
      check(
        keySize === 4 && maxEntries === 0 && (flags & NO_PREALLOC) !== 0,
        'not the form of socket storage',
      );
      check(options.btf !== undefined, 'socket storage wants BTF');
      return new StorageMap(machine, options);
    case mapTypes.ringbuf:
      check(
        keySize === 0 &&
          valueSize === 0 &&
          maxEntries % PAGE === 0 &&
          (maxEntries & (maxEntries - 1)) === 0,
        'the size is a power of two and whole pages, without key and value',
      );
      return new RingBufferMap(machine, options);
    default:
      return refuse(`the userspace machine has no maps of type ${nameOf(mapTypes, type)}`);
  }
}
