import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readFile } from '@heddle/sys';
import { nodePlatform } from '@heddle/sys/node';
import { fixture } from '../testing/fixture.ts';
import { Btf } from './btf.ts';

import { VerifierError } from './errors.ts';
import { kernelBtf } from './kernel-btf.ts';
import { LinuxBpf } from './linux-bpf.ts';
import { loadObject } from './loader.ts';
import { readObject, setVariable } from './object-spec.ts';

const platform = nodePlatform();
const bpf = new LinuxBpf(platform);
const packet = new Uint8Array(64);

/** Facts of the running kernel, read without the code under test. */
function member(struct: string, ...path: readonly string[]) {
  const btf = kernelBtf(platform);
  let type = btf.byName(struct, 'struct')!;
  let bitOffset = 0;
  let bitSize = 0;
  for (const name of path) {
    assert.ok(type.kind === 'struct' || type.kind === 'union');
    const found = type.members.find((candidate) => candidate.name === name)!;
    bitOffset += found.bitOffset;
    bitSize = found.bitSize;
    type = btf.resolved(found.typeId);
  }
  return { bitOffset, bitSize, offset: bitOffset / 8 };
}

describe("the running kernel's BTF", () => {
  test('the BTF of the kernel is indexed by name', () => {
    const btf = Btf.parse(readFile(platform, '/sys/kernel/btf/vmlinux'));
    assert.ok(btf.byName('task_struct', 'struct'));
  });

  test('all types of the kernel can be decoded', () => {
    const btf = kernelBtf(platform);
    for (let id = 1; id < btf.endId; id++) btf.typeById(id);
  });
});

describe('relocated programs', () => {
  const spec = readObject(fixture('core.o'));

  test('a relocated program uses the field offsets of the kernel', () => {
    using loaded = loadObject(bpf, spec, { programs: ['core'] });
    const count = loaded.program('core').testRun({ data: packet }).returnValue;
    const bytes = loaded.map('.bss').lookup(new Uint8Array(4))!;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const results = Array.from({ length: count }, (_, i) => Number(view.getBigInt64(i * 8, true)));
    const btf = kernelBtf(platform);
    const version = member('iphdr', 'version');
    assert.deepEqual(results, [
      member('task_struct', 'pid').offset,
      member('task_struct', 'comm').offset + 3,
      16,
      1,
      0,
      1,
      0,
      1,
      0,
      64 - version.bitOffset - version.bitSize,
      64 - version.bitSize,
      spec.btf!.byName('list_head', 'struct')!.id,
      btf.byName('list_head', 'struct')!.id,
      1,
      0,
      16,
      0,
      1,
      1,
      1,
      0,
      // BPF_MAP_TYPE_HASH of linux/bpf.h.
      1,
    ]);
  });

  test('a program may use a missing field in dead code', () => {
    using loaded = loadObject(bpf, spec, { programs: ['guarded'] });
    assert.equal(loaded.program('guarded').testRun({ data: packet }).returnValue, 5);
  });

  test('a program may not use a missing field outside of dead code', () => {
    assert.throws(
      () => loadObject(bpf, spec, { programs: ['unguarded'] })[Symbol.dispose](),
      VerifierError,
    );
  });
});

describe('linked programs', () => {
  const spec = readObject(fixture('features.o'));
  const programs = ['first', 'second'];
  const run = (changed = spec) => {
    using loaded = loadObject(bpf, changed, { programs });
    return loaded.program('first').testRun({ data: packet }).returnValue;
  };

  test('a program calls its functions, also through pointers', () => {
    // 2 * scaled(7), plus four calls of the loop's body that `first` made before its tail call.
    assert.equal(run(), 2 * 7 * 3 + 4);
  });

  test('a program has the values of setVariable', () => {
    assert.equal(run(setVariable(spec, 'settings', new Uint8Array(8))), 0);
    assert.equal(run(setVariable(spec, 'factor', Uint8Array.of(10, 0, 0, 0))), 2 * 7 * 10 + 4);
  });
});
