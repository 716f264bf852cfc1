import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Bpf, BpfMap, LinuxBpf, type MapSpec, mapTypes, type UpdateMode } from '@heddle/ebpf';
import { mapSpec } from '@heddle/ebpf/testing/map-spec';
import { SysError } from '@heddle/sys';
import { nodePlatform } from '@heddle/sys/node';
import { seededRandom } from '../random.ts';
import { VmBpf } from '../vm-bpf.ts';

const kernel = new LinuxBpf(nodePlatform(() => {}));
const machine = new VmBpf({ cpus: kernel.possibleCpus });
const steps = 400;

const shapes: Readonly<Record<string, Partial<MapSpec>>> = {
  hash: { type: mapTypes.hash, maxEntries: 6, valueSize: 12 },
  'hash without preallocation': { type: mapTypes.hash, maxEntries: 6, flags: 1 },
  'hash with a long key': { type: mapTypes.hash, maxEntries: 6, keySize: 23, valueSize: 1 },
  array: { type: mapTypes.array, maxEntries: 6, valueSize: 5 },
  'per-CPU hash': { type: mapTypes.percpu_hash, maxEntries: 6, valueSize: 12 },
  'per-CPU array': { type: mapTypes.percpu_array, maxEntries: 6, valueSize: 5 },
  // The maps are large enough that no entry is evicted, because the two would evict different ones.
  'LRU hash': { type: mapTypes.lru_hash, maxEntries: 1000 },
  'LPM trie': { type: mapTypes.lpm_trie, maxEntries: 6, keySize: 8, flags: 1 },
};

const text = (bytes: Uint8Array | undefined) =>
  bytes ? Buffer.from(bytes).toString('hex') : 'none';

/** Returns the result of an operation as text, or its errno. */
function outcome(work: () => unknown): string {
  try {
    return String(work());
  } catch (error) {
    if (error instanceof SysError) return error.code;
    throw error;
  }
}

for (const [name, shape] of Object.entries(shapes)) {
  test(`${name}: operations of bpf(2) have the kernel's results`, () => {
    const create = (bpf: Bpf) => BpfMap.create(bpf, mapSpec(shape));
    using one = create(kernel);
    using other = create(machine);
    const random = seededRandom(3);
    const below = (limit: number) => random() % limit;
    const isTrie = shape.type === mapTypes.lpm_trie;
    const keys = (count: number) => {
      const bytes = new Uint8Array(count * one.info.keySize);
      for (let i = 0; i < count; i++) {
        const at = i * one.info.keySize;
        bytes[at] = isTrie ? below(5) * 8 : below(9);
        // Few keys, so that they meet; a prefix has some bits behind its end, too.
        if (isTrie) bytes.set([10, below(2), below(3), below(3)], at + 4);
      }
      return bytes;
    };
    const values = (count: number) => {
      const bytes = new Uint8Array(count * one.valueBytes);
      for (let i = 0; i < bytes.length; i++) bytes[i] = random();
      return bytes;
    };
    for (let step = 0; step < steps; step++) {
      const count = 1 + below(4);
      const [many, contents] = [keys(count), values(count)];
      const [key, value] = [keys(1), values(1)];
      const mode = (['any', 'create', 'replace'] as const satisfies UpdateMode[])[below(3)]!;
      const operations: readonly [what: string, work: (map: BpfMap) => unknown][] = [
        ['update', (map) => map.update(key, value, mode)],
        ['update', (map) => map.update(key, value)],
        ['delete', (map) => map.delete(key)],
        ['lookup', (map) => text(map.lookup(key))],
        ['update batch', (map) => map.updateBatch(many, contents, count)],
        ['delete batch', (map) => map.deleteBatch(many, count)],
      ];
      const [what, work] = operations[below(operations.length)]!;
      const [expected, own] = [one, other].map((map) => outcome(() => work(map)));
      assert.equal(`${step} ${what}: ${own}`, `${step} ${what}: ${expected}`);
      const [there, here] = [one, other].map((map) =>
        Array.from(map.entries(), ([k, v]) => `${text(k)}=${text(v)}`).sort(),
      );
      assert.deepEqual(here, there, `after ${step} ${what}`);
      const [first, second] = [one, other].map((map) => Array.from(map.keys(), text).sort());
      assert.deepEqual(second, first);
    }
  });
}
