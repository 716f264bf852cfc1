import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { errno, SysError } from '@heddle/sys';
import {
  bpf,
  load,
  longs,
  platform,
  temporaryBpffs,
  u32,
  u64,
  withoutLeak,
  words,
  wrapped,
} from '../testing/kernel.ts';
import { mapSpec } from '../testing/map-spec.ts';
import type { Bpf } from './bpf.ts';
import { BatchError, Incompatible, MapFull } from './errors.ts';
import { readMapInfo } from './info.ts';
import { BpfMap, compatibility } from './map.ts';
import type { MapSpec } from './spec.ts';
import { BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, mapTypes } from './uapi.ts';

const code = (wanted: string) => (error: unknown) =>
  error instanceof SysError && error.code === wanted;

function eachKindOfKeyedMap(work: (map: BpfMap, kind: string) => void): void {
  for (const kind of ['hash', 'lru_hash', 'percpu_hash', 'lru_percpu_hash'] as const) {
    using map = BpfMap.create(bpf, mapSpec({ type: mapTypes[kind], maxEntries: 4096 }));
    work(map, kind);
  }
  using trie = BpfMap.create(
    bpf,
    mapSpec({ type: mapTypes.lpm_trie, keySize: 8, maxEntries: 4096, flags: BPF_F_NO_PREALLOC }),
  );
  work(trie, 'lpm_trie');
}

/** Returns a key of the map for `number`, and a value that differs on each CPU. */
function element(map: BpfMap, number: number): [Uint8Array, Uint8Array] {
  const key = map.info.keySize === 8 ? u32(32, number) : u32(number);
  const value = new Uint32Array(map.valueBytes / 4);
  for (let i = 0; i < value.length; i += 2) value[i] = number + i * 1000;
  return [key, new Uint8Array(value.buffer)];
}

describe('a map with keys', () => {
  test('a map keeps elements, on each CPU', () => {
    withoutLeak(() =>
      eachKindOfKeyedMap((map, kind) => {
        const [key, value] = element(map, 7);
        assert.equal(map.lookup(key), undefined, kind);
        map.update(key, value);
        assert.deepEqual(map.lookup(key), value, kind);
        assert.equal(map.delete(key), true, kind);
        assert.equal(map.delete(key), false, kind);
        assert.equal(map.lookup(key), undefined, kind);
      }),
    );
  });

  test('per-CPU values take 8 bytes for each possible CPU', () => {
    using map = BpfMap.create(bpf, mapSpec({ type: mapTypes.percpu_hash, valueSize: 12 }));
    assert.equal(map.valueBytes, 16 * platform.possibleCpus);
  });

  test('update refuses to create what exists and to replace what does not exist', () => {
    using map = BpfMap.create(bpf, mapSpec({}));
    assert.throws(() => map.update(u32(1), u32(1), 'replace'), {
      name: 'KeyNotFound',
      code: 'ENOENT',
      message: 'update map test: the key does not exist (ENOENT)',
    });
    map.update(u32(1), u32(1), 'create');
    assert.throws(() => map.update(u32(1), u32(2), 'create'), {
      name: 'KeyExists',
      code: 'EEXIST',
      message: 'update map test: the key exists already (EEXIST)',
    });
    map.update(u32(1), u32(2), 'replace');
    assert.deepEqual(words(map.lookup(u32(1))), [2]);
  });

  test('batches write, list and delete all elements', () => {
    eachKindOfKeyedMap((map, kind) => {
      const count = 3000;
      const keys = new Uint8Array(count * map.info.keySize);
      const values = new Uint8Array(count * map.valueBytes);
      for (let i = 0; i < count; i++) {
        const [key, value] = element(map, i);
        keys.set(key, i * key.length);
        values.set(value, i * value.length);
      }
      map.updateBatch(keys, values, count);
      const seen = new Map<number, Uint8Array>();
      for (const [key, value] of map.entries()) seen.set(words(key).at(-1)!, value);
      // LRU maps share their room between CPUs and may make space before they are full.
      if (!kind.startsWith('lru')) assert.equal(seen.size, count, kind);
      for (const [number, value] of seen) assert.deepEqual(value, element(map, number)[1], kind);
      assert.equal([...map.keys()].length, seen.size, kind);
      assert.equal(map.deleteBatch(keys, count), seen.size, kind);
      assert.deepEqual([...map.entries()], [], kind);
    });
  });

  test('a batch skips missing keys when it deletes', () => {
    using map = BpfMap.create(bpf, mapSpec({}));
    for (const number of [1, 3, 5]) map.update(u32(number), u32(number));
    assert.equal(map.deleteBatch(u32(0, 1, 2, 3, 4), 5), 2);
    assert.deepEqual(
      [...map.entries()].map(([key]) => words(key)[0]),
      [5],
    );
  });

  test('without batches in the kernel, single calls have the same effect', () => {
    const unsupported = { count: 0, error: new SysError('bpf', errno.ENOTSUPP) };
    let port: Bpf = wrapped(bpf, 'mapUpdateBatch', () => unsupported);
    port = wrapped(port, 'mapDeleteBatch', () => unsupported);
    port = wrapped(port, 'mapLookupBatch', () => unsupported);
    using map = BpfMap.create(port, mapSpec({ maxEntries: 3 }));
    map.updateBatch(u32(1, 2), u32(10, 20), 2);
    const entries = [...map.entries()].map(([key, value]) => [words(key)[0], words(value)[0]]);
    assert.deepEqual(entries.sort(), [
      [1, 10],
      [2, 20],
    ]);
    assert.equal(map.deleteBatch(u32(2, 3), 2), 1);
    assert.throws(
      () => map.updateBatch(u32(4, 5, 6), u32(4, 5, 6), 3),
      (error) => error instanceof BatchError && error.done === 2 && error.code === 'E2BIG',
    );
  });

  test('a listing returns the elements of a hash bucket that exceeds a batch', () => {
    using map = BpfMap.create(bpf, mapSpec({ maxEntries: 4096 }));
    const keys = new Uint32Array(4096).map((_, i) => i);
    map.updateBatch(new Uint8Array(keys.buffer), new Uint8Array(keys.buffer.slice(0)), 4096);
    // The kernel's error for a batch that is smaller than a bucket.
    let refusals = 3;
    const port = wrapped(bpf, 'mapLookupBatch', (fd, batch) =>
      refusals-- > 0
        ? { count: 0, error: new SysError('bpf', errno.ENOSPC) }
        : bpf.mapLookupBatch(fd, batch),
    );
    using same = BpfMap.fromId(port, map.info.id);
    assert.equal([...same.entries()].length, 4096);
  });

  test('an error of a full map has its name and size, and how many elements were written', () => {
    using map = BpfMap.create(bpf, mapSpec({ name: 'tiny', maxEntries: 2 }));
    assert.throws(
      () => map.updateBatch(u32(1, 2, 3, 4), u32(1, 2, 3, 4), 4),
      (error) =>
        error instanceof BatchError &&
        error.done === 2 &&
        error.code === 'E2BIG' &&
        error.cause instanceof MapFull &&
        error.message ===
          'update map tiny: the map is full, it holds at most 2 elements (E2BIG), after 2 elements of a batch',
    );
    assert.throws(() => map.update(u32(9), u32(9)), {
      name: 'MapFull',
      message: 'update map tiny: the map is full, it holds at most 2 elements (E2BIG)',
    });
  });

  test('an index beyond the end of an array is an error that names the number of elements', () => {
    using map = BpfMap.create(bpf, {
      type: mapTypes.array,
      keySize: 4,
      valueSize: 4,
      maxEntries: 2,
    });
    assert.throws(() => map.update(u32(2), u32(0)), /: the index is not below 2 \(E2BIG\)$/);
  });

  test('a failed call is the cause of the error that names the map', () => {
    using map = BpfMap.create(bpf, mapSpec({ name: 'frozen' }));
    map.freeze();
    assert.throws(
      () => map.update(u32(1), u32(1)),
      (error) =>
        error instanceof SysError &&
        error.message === 'update map frozen: operation not permitted (EPERM)' &&
        error.cause instanceof SysError &&
        error.cause.message.startsWith('update map element: '),
    );
  });

  test('keys of the wrong length never reach the kernel', () => {
    using map = BpfMap.create(bpf, mapSpec({}));
    assert.throws(() => map.lookup(new Uint8Array(3)), RangeError);
    assert.throws(() => map.update(u32(1), new Uint8Array(8)), RangeError);
    assert.throws(() => map.updateBatch(u32(1), u32(1, 2), 2), RangeError);
  });

  test('a trie returns the value of the longest prefix', () => {
    using trie = BpfMap.create(
      bpf,
      mapSpec({ type: mapTypes.lpm_trie, keySize: 8, flags: BPF_F_NO_PREALLOC }),
    );
    const prefix = (length: number, ...address: number[]) =>
      new Uint8Array([length, 0, 0, 0, ...address]);
    trie.update(prefix(8, 10, 0, 0, 0), u32(8));
    trie.update(prefix(16, 10, 1, 0, 0), u32(16));
    assert.deepEqual(words(trie.lookup(prefix(32, 10, 1, 2, 3))), [16]);
    assert.deepEqual(words(trie.lookup(prefix(32, 10, 2, 2, 3))), [8]);
    assert.equal(trie.lookup(prefix(32, 11, 2, 2, 3)), undefined);
  });
});

describe('an array', () => {
  for (const kind of ['array', 'percpu_array'] as const) {
    test(`${kind}: all elements exist, none can be deleted`, () => {
      using map = BpfMap.create(bpf, mapSpec({ type: mapTypes[kind], valueSize: 8 }));
      const value = new Uint8Array(map.valueBytes).fill(3);
      map.update(u32(5), value);
      const entries = [...map.entries()];
      assert.equal(entries.length, 16);
      assert.deepEqual(entries[5]![1], value);
      assert.throws(() => map.delete(u32(5)), code('EINVAL'));
      assert.throws(() => map.update(u32(16), value), code('E2BIG'));
      assert.equal(map.lookup(u32(16)), undefined);
    });
  }

  test('mapped memory of an array is read and written in place', () => {
    withoutLeak(() => {
      using map = BpfMap.create(
        bpf,
        mapSpec({ type: mapTypes.array, valueSize: 12, flags: BPF_F_MMAPABLE, maxEntries: 1000 }),
      );
      using memory = map.mmap();
      assert.equal(memory.bytes.length, 16 * 1000);
      const view = new DataView(memory.bytes.buffer, memory.bytes.byteOffset);
      view.setUint32(16 * 999, 0xabcdef, true);
      assert.equal(words(map.lookup(u32(999)))[0], 0xabcdef);
      map.update(u32(1), u32(1, 2, 3));
      assert.equal(view.getUint32(16 + 8, true), 3);
    });
  });

  test('an array without BPF_F_MMAPABLE can not be mapped', () => {
    using map = BpfMap.create(bpf, mapSpec({ type: mapTypes.array }));
    assert.throws(() => map.mmap(), SysError);
  });

  test('a frozen array refuses changes and can be read', () => {
    using map = BpfMap.create(bpf, mapSpec({ name: 'ice', type: mapTypes.array }));
    map.update(u32(0), u32(1));
    map.freeze();
    assert.throws(
      () => map.update(u32(0), u32(2)),
      /update map ice: operation not permitted \(EPERM\)/,
    );
    assert.deepEqual(words(map.lookup(u32(0))), [1]);
  });
});

describe('a map of maps', () => {
  for (const kind of ['hash_of_maps', 'array_of_maps'] as const) {
    test(`${kind} takes a descriptor and returns an id`, () => {
      withoutLeak(() => {
        const inner = mapSpec({ type: mapTypes.array });
        using outer = BpfMap.create(bpf, mapSpec({ type: mapTypes[kind], inner }));
        using member = BpfMap.create(bpf, inner);
        outer.update(u32(3), u32(member.fd));
        assert.deepEqual(words(outer.lookup(u32(3))), [member.info.id]);
        const listed = [...outer.entries()].filter(([, value]) => words(value)[0] !== 0);
        assert.deepEqual(
          listed.map(([key, value]) => [words(key)[0], words(value)[0]]),
          [[3, member.info.id]],
        );
        using again = BpfMap.fromId(bpf, words(outer.lookup(u32(3)))[0]!);
        again.update(u32(0), u32(11));
        assert.deepEqual(words(member.lookup(u32(0))), [11]);
        using other = BpfMap.create(bpf, mapSpec({ type: mapTypes.hash }));
        assert.throws(() => outer.update(u32(4), u32(other.fd)), code('EINVAL'));
      });
    });
  }
});

describe('storage of sockets', () => {
  test('storage of a socket is looked up by its descriptor', () => {
    using object = load('sockets', { programs: [] });
    const map = object.map('storage');
    const socket = platform.syscall(platform.arch === 'x64' ? 41 : 198, 2, 2, 0);
    try {
      assert.equal(map.lookup(u32(socket)), undefined);
      map.update(u32(socket), u64(5n));
      assert.deepEqual(longs(map.lookup(u32(socket))), [5n]);
      assert.equal(map.delete(u32(socket)), true);
    } finally {
      bpf.close(socket);
    }
  });
});

describe('a pinned map', () => {
  test('a pinned map is opened by path and by id, with its content', () => {
    using bpffs = temporaryBpffs();
    withoutLeak(() => {
      const path = `${bpffs.path}/numbers`;
      {
        using map = BpfMap.create(bpf, mapSpec({ name: 'numbers' }));
        map.update(u32(1), u32(2));
        map.pin(path);
        assert.throws(() => map.pin(path), code('EEXIST'));
      }
      using again = BpfMap.openPinned(bpf, path, mapSpec({ name: 'another name' }));
      assert.equal(again.info.name, 'numbers');
      assert.deepEqual(words(again.lookup(u32(1))), [2]);
      using byId = BpfMap.fromId(bpf, again.info.id);
      assert.deepEqual(byId.info, again.info);
      assert.throws(() => BpfMap.openPinned(bpf, `${path}_missing`), code('ENOENT'));
      assert.throws(() => again.pin(`${path}.2`), /names in a bpf file system have no dot/);
    });
  });

  test('a pinned map with other properties is refused with the differences', () => {
    using bpffs = temporaryBpffs();
    const path = `${bpffs.path}/old`;
    using map = BpfMap.create(bpf, mapSpec({ flags: BPF_F_NO_PREALLOC }));
    map.pin(path);
    const wanted: MapSpec = mapSpec({ type: mapTypes.lru_hash, valueSize: 8, maxEntries: 32 });
    const differences = [
      'type is hash, wanted lru_hash',
      'value size is 4, wanted 8',
      'maximum of entries is 16, wanted 32',
      'flags is 0x1, wanted 0x0',
    ];
    assert.deepEqual(compatibility(readMapInfo(bpf, map.fd), wanted), differences);
    withoutLeak(() =>
      assert.throws(
        () => BpfMap.openPinned(bpf, path, wanted),
        (error) =>
          error instanceof Incompatible &&
          error.message === `reuse pinned map ${path}: ${differences.join('; ')}`,
      ),
    );
  });

  test('a pin on an ordinary file system is refused with the reason', () => {
    using map = BpfMap.create(bpf, mapSpec({}));
    assert.throws(() => map.pin('/tmp/heddle-no-bpffs'), /\/tmp is not on a bpf file system/);
  });
});

test('a map that cannot be created leaves no descriptor open', () => {
  withoutLeak(() => {
    assert.throws(() => BpfMap.create(bpf, mapSpec({ maxEntries: 0 })), code('EINVAL'));
    const inner = mapSpec({ type: mapTypes.array });
    assert.throws(
      () => BpfMap.create(bpf, mapSpec({ type: mapTypes.hash_of_maps, inner, valueSize: 8 })),
      code('EINVAL'),
    );
  });
});
