import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  bpf,
  load,
  loopback,
  temporaryBpffs,
  temporaryCgroup,
  u32,
  withoutLeak,
} from '../testing/kernel.ts';
import { mapSpec } from '../testing/map-spec.ts';
import { attachCgroup } from './links/cgroup.ts';
import { attachIterator, readIterator } from './links/iterator.ts';
import { BpfLink } from './links/link.ts';
import { attachTcx } from './links/tcx.ts';
import { attachXdp } from './links/xdp.ts';
import { BpfMap } from './map.ts';
import { RingBuffer } from './ring-buffer.ts';
import { BPF_F_MMAPABLE, mapTypes } from './uapi.ts';

// The kernel gives the lowest free number to the next file: a handle that went on using its number
// would reach that file.
describe('a closed handle', () => {
  test('a closed map throws, and the map that has its descriptor now is unchanged', () => {
    withoutLeak(() => {
      const first = BpfMap.create(bpf, mapSpec({ name: 'first', maxEntries: 4 }));
      const number = first.fd;
      first[Symbol.dispose]();
      first[Symbol.dispose]();
      using second = BpfMap.create(bpf, mapSpec({ name: 'second', maxEntries: 4 }));
      assert.equal(second.fd, number);
      const closed = /^Error: use map first: it is closed$/;
      const [key, value] = [u32(1), u32(7)];
      for (const use of [
        () => first.update(key, value),
        () => first.lookup(key),
        () => first.delete(key),
        () => [...first.entries()],
        () => [...first.keys()],
        () => first.updateBatch(key, value, 1),
        () => first.deleteBatch(key, 1),
        () => first.mmap(),
        () => first.freeze(),
        () => first.pin('/nowhere'),
        () => first.fd,
      ]) {
        assert.throws(use, closed, String(use));
      }
      assert.deepEqual([...second.entries()], []);
      // Its own second disposal has not closed the other map.
      second.update(key, value);
    });
  });

  test('closed mapped memory throws', () => {
    using map = BpfMap.create(
      bpf,
      mapSpec({ name: 'array', type: mapTypes.array, flags: BPF_F_MMAPABLE }),
    );
    const memory = map.mmap();
    memory[Symbol.dispose]();
    assert.throws(() => memory.bytes, /^Error: use memory of map array: it is closed$/);
  });

  test('a closed program throws', () => {
    withoutLeak(() => {
      const object = load('connects');
      const program = object.program('connect4');
      object[Symbol.dispose]();
      const closed = /^Error: use program connect4: it is closed$/;
      using cgroup = temporaryCgroup();
      assert.throws(() => program.testRun(), closed);
      assert.throws(() => program.pin('/nowhere'), closed);
      assert.throws(() => attachCgroup(bpf, program, cgroup), closed);
      assert.throws(() => attachTcx(bpf, program, loopback, 'ingress'), closed);
      assert.throws(() => attachXdp(bpf, program, loopback), closed);
      assert.throws(() => object.map('events').info && object.map('events').fd, /it is closed/);
    });
  });

  test('a closed link throws an error that names it', () => {
    using cgroup = temporaryCgroup();
    using bpffs = temporaryBpffs();
    withoutLeak(() => {
      using object = load('connects');
      using made = attachCgroup(bpf, object.program('connect4'), cgroup);
      made.pin(`${bpffs.path}/link`);
      const link = BpfLink.openPinned(bpf, `${bpffs.path}/link`);
      link[Symbol.dispose]();
      const closed = new RegExp(`^Error: use link ${bpffs.path}/link: it is closed$`);
      assert.throws(() => link.info, closed);
      assert.throws(() => link.detach(), closed);
      assert.throws(() => link.update(object.program('connect4')), closed);
      assert.throws(() => link.pin('/nowhere'), closed);
      assert.equal(made.info.kind, 'cgroup');
    });
  });

  test('a closed link of an iterator throws, and closing it twice closes no other file', () => {
    using object = load('sockets', { programs: ['list_tcp'] });
    withoutLeak(() => {
      const link = attachIterator(bpf, object.program('list_tcp'));
      const number = link.fd;
      assert.ok(readIterator(bpf, link) instanceof Uint8Array);
      link[Symbol.dispose]();
      using other = attachIterator(bpf, object.program('list_tcp'));
      assert.equal(other.fd, number);
      link[Symbol.dispose]();
      const closed = /^Error: use link of program list_tcp: it is closed$/;
      assert.throws(() => readIterator(bpf, link), closed);
      assert.throws(() => link.detach(), closed);
      readIterator(bpf, other);
    });
  });

  test('the maps and programs of a closed object throw, and those of the caller do not', () => {
    withoutLeak(() => {
      using first = load('connects', { programs: [] });
      const reused = first.map('connects');
      const second = load('connects', { programs: ['connect4'], maps: { connects: reused } });
      second[Symbol.dispose]();
      second[Symbol.dispose]();
      assert.throws(() => second.map('events').fd, /^Error: use map events: it is closed$/);
      assert.throws(() => second.program('connect4').fd, /use program connect4: it is closed/);
      assert.ok(second.map('connects').fd >= 0);
    });
  });

  test('a closed ring buffer throws', () => {
    using object = load('connects');
    const ring = new RingBuffer(bpf, object.map('events'), () => {});
    ring[Symbol.dispose]();
    assert.throws(() => ring.drain(), /^Error: use ring buffer events: it is closed$/);
  });
});

test('a ring buffer whose descriptor cannot be watched unmaps its memory', () => {
  using object = load('connects');
  const mapped: string[] = [];
  const counting = new Proxy(bpf, {
    get(target, name) {
      if (name !== 'mapMemory') {
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === 'function' ? value.bind(target) : value;
      }
      return (...given: Parameters<typeof bpf.mapMemory>) => {
        const memory = target.mapMemory(...given);
        mapped.push('mapped');
        return {
          bytes: memory.bytes,
          [Symbol.dispose]() {
            mapped.pop();
            memory[Symbol.dispose]();
          },
        };
      };
    },
  });
  const deaf = {
    onReadable(): Disposable {
      throw new Error('out of descriptors');
    },
  };
  assert.throws(
    () => new RingBuffer(counting, object.map('events'), () => {}, deaf),
    /out of descriptors/,
  );
  assert.deepEqual(mapped, []);
});
