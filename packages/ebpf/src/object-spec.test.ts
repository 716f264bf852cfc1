import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fixture } from '../testing/fixture.ts';
import { readObject, resizeMap, setVariable, withMap } from './object-spec.ts';

const features = readObject(fixture('features.o'));
const map = (name: string) => features.maps.get(name)!;
const program = (name: string) => features.programs.get(name)!;

describe('maps', () => {
  test('the properties of a map come from its type', () => {
    const counts = map('counts');
    assert.deepEqual(
      { ...counts, keyTypeId: 0, valueTypeId: 0 },
      {
        name: 'counts',
        type: 1,
        keySize: 8,
        valueSize: 16,
        maxEntries: 1024,
        flags: 1,
        keyTypeId: 0,
        valueTypeId: 0,
        extra: 0n,
        pinByName: true,
        inner: undefined,
        initial: [],
        contents: undefined,
        readOnly: false,
      },
    );
    assert.equal(features.btf!.resolved(counts.keyTypeId).name, 'packet_key');
    assert.equal(features.btf!.resolved(counts.valueTypeId).name, 'packet_count');
  });

  test('a map may have sizes without types, or neither', () => {
    assert.deepEqual([map('seen').keySize, map('seen').valueSize, map('seen').extra], [0, 8, 3n]);
    assert.deepEqual([map('events').keySize, map('events').maxEntries], [0, 4096]);
  });

  test('a map may hold maps', () => {
    const { inner, initial, valueSize, keySize, maxEntries } = map('outer');
    assert.deepEqual([keySize, valueSize, maxEntries], [4, 4, 3]);
    assert.deepEqual([inner?.type, inner?.keySize, inner?.valueSize], [2, 4, 8]);
    assert.equal(inner?.maxEntries, 4);
    assert.deepEqual(initial, [
      { index: 0, name: 'inner_a' },
      { index: 2, name: 'inner_b' },
    ]);
  });

  test('a map may hold programs', () => {
    assert.equal(map('jumps').inner, undefined);
    assert.equal(map('jumps').valueSize, 4);
    assert.deepEqual(map('jumps').initial, [{ index: 1, name: 'second' }]);
  });

  test('data sections are maps', () => {
    const [config, rodata, data, bss] = ['.rodata.config', '.rodata', '.data', '.bss'].map(map);
    assert.deepEqual([...config!.contents!], [1, 0, 0, 0, 2, 0, 0, 0]);
    assert.deepEqual([config!.readOnly, config!.flags], [true, 0x480]);
    assert.deepEqual([...rodata!.contents!], [3, 0, 0, 0]);
    assert.deepEqual([data!.readOnly, data!.flags, ...data!.contents!], [false, 0x400, 7, 0, 0, 0]);
    assert.ok(bss!.contents!.every((byte) => byte === 0));
    assert.equal(features.btf!.nameOf(bss!.valueTypeId), '.bss');
    assert.equal(bss!.keyTypeId, 0);
  });
});

test('variables have the offsets in their maps', () => {
  const places = [...features.variables.values()].map(({ name, map, size }) => [name, map, size]);
  assert.deepEqual(
    places.sort((a, b) => (String(a[0]) < String(b[0]) ? -1 : 1)),
    [
      ['calls', '.bss', 4],
      ['factor', '.rodata', 4],
      ['settings', '.rodata.config', 8],
      ['started', '.data', 4],
      ['total', '.bss', 8],
    ],
  );
});

test('BTF has the offsets of variables, which clang leaves open', () => {
  const section = features.btf!.byName('.bss', 'datasec')!;
  assert.ok(section.kind === 'datasec');
  assert.equal(section.size, map('.bss').valueSize);
  for (const { typeId, offset } of section.entries) {
    assert.equal(offset, features.variables.get(features.btf!.nameOf(typeId))!.offset);
  }
});

describe('programs', () => {
  test('programs are the global functions outside .text', () => {
    assert.deepEqual([...features.programs.keys()].sort(), ['first', 'second', 'third']);
    const { section, type, attachType, flags } = program('third');
    assert.deepEqual([section, type, attachType, flags], ['xdp.frags', 6, 37, 32]);
    assert.equal(features.license, 'Dual BSD/GPL');
  });

  test('a program contains each function that it calls once', () => {
    const { instructions, functions } = program('first');
    const { btf } = features;
    const names = functions.map(({ typeId }) => btf!.nameOf(typeId));
    assert.deepEqual([...names].sort(), ['add', 'first', 'hidden', 'scaled', 'sum']);
    assert.equal(functions[0]!.at, 0);
    const starts = new Set(functions.map(({ at }) => at));
    const view = new DataView(instructions.buffer);
    let calls = 0;
    for (let at = 0; at * 8 < instructions.length; at++) {
      const opcode = view.getUint8(at * 8);
      if (opcode === 0x85 && view.getUint8(at * 8 + 1) === 0x10) {
        const isKfunc = program('first').references.some(
          (reference) => reference.kind === 'kfunc' && reference.at === at,
        );
        if (isKfunc) continue;
        calls++;
        assert.ok(starts.has(at + 1 + view.getInt32(at * 8 + 4, true)), `call at ${at}`);
      }
      if (opcode === 0x18) at++;
    }
    assert.equal(calls, 3);
  });

  test('a program refers to maps, data, functions and kernel symbols', () => {
    const { references, functions } = program('first');
    const of = (kind: string) => references.filter((reference) => reference.kind === kind);
    assert.deepEqual(
      of('map').map((reference) => ('map' in reference ? reference.map : '')),
      ['outer', 'jumps'],
    );
    const variables = of('data').map((reference) =>
      reference.kind === 'data'
        ? [...features.variables.values()].find(
            ({ map, offset }) => map === reference.map && offset === reference.offset,
          )?.name
        : '',
    );
    for (const name of ['settings', 'total', 'started', 'calls', 'factor']) {
      assert.ok(variables.includes(name), name);
    }
    const add = functions.find(({ typeId }) => features.btf!.nameOf(typeId) === 'add')!;
    assert.deepEqual(
      of('function').map((reference) => ({ ...reference, at: 0 })),
      [{ kind: 'function', at: 0, target: add.at }],
    );
    const symbols = (kind: string) =>
      of(kind).map((reference) =>
        'name' in reference ? `${reference.name} ${reference.weak}` : '',
      );
    assert.deepEqual(symbols('kfunc').sort(), [
      'bpf_rcu_read_lock true',
      'bpf_rcu_read_unlock true',
      'heddle_absent_function true',
    ]);
    assert.ok(symbols('ksym').includes('heddle_absent_symbol true'));
    assert.ok(symbols('ksym').includes('heddle_absent_function true'));
    assert.deepEqual(
      program('third').references.map((reference) => ({ ...reference, at: 0 })),
      [{ kind: 'ksym', at: 0, name: 'init_net', weak: false }],
    );
  });

  test('each function of a program has line information from its start', () => {
    const { lines, functions, instructions } = program('first');
    for (const { at } of functions) assert.ok(lines.some((line) => line.at === at));
    assert.ok(lines.every(({ at }) => at * 8 < instructions.length));
    for (let i = 1; i < lines.length; i++) assert.ok(lines[i]!.at > lines[i - 1]!.at);
    assert.ok(lines.some(({ text }) => text.includes('tail_call(context, &jumps, 1)')));
    assert.match(lines[0]!.file, /features\.bpf\.c$/);
  });

  test('functions that are hidden from other objects become static', () => {
    const linkage = (name: string) => {
      const type = features.btf!.byName(name, 'func');
      return type?.kind === 'func' ? type.linkage : undefined;
    };
    assert.deepEqual([linkage('hidden'), linkage('scaled'), linkage('sum')], [0, 1, 0]);
  });

  test('relocations have the index of the instruction in the program', () => {
    const core = readObject(fixture('core.o'));
    const { relocations, instructions } = core.programs.get('guarded')!;
    assert.deepEqual(
      relocations.map(({ kind }) => kind),
      [2, 0],
    );
    assert.deepEqual(
      relocations.map(({ at }) => instructions[at * 8]),
      [0xb7, 0x61],
    );
  });
});

test('an error of an object file names the file when the caller gives its name', () => {
  const noElf = new Uint8Array(100);
  assert.throws(() => readObject(noElf), /^ElfError: read object: /);
  assert.throws(() => readObject(noElf, 'x.o'), /^ElfError: read object x\.o: /);
  const bytes = fixture('features.o');
  // The magic number at the start of the section .BTF.
  const at = bytes.findIndex((_, i) => bytes[i] === 0x9f && bytes[i + 1] === 0xeb);
  bytes[at] = 0;
  assert.throws(() => readObject(bytes, 'x.o'), /^BtfError: read BTF of x\.o: /);
});

test('a section determines the type of a program', () => {
  const { programs, license } = readObject(fixture('sections.o'));
  assert.equal(license, '');
  const meaning = (name: string) => {
    const { type, attachType, attachTo, flags } = programs.get(name)!;
    return [type, attachType, attachTo, flags];
  };
  assert.deepEqual(meaning('connect4'), [18, 10, undefined, 0]);
  assert.deepEqual(meaning('getpeername6'), [18, 30, undefined, 0]);
  assert.deepEqual(meaning('iter_tcp'), [26, 28, 'tcp', 0]);
  assert.deepEqual(meaning('iter_sleepable'), [26, 28, 'task', 16]);
  assert.deepEqual(meaning('traced'), [26, 23, 'inet_sock_set_state', 0]);
  assert.deepEqual(meaning('optional'), [3, 0, undefined, 0]);
  assert.deepEqual(meaning('unknown'), [0, 0, undefined, 0]);
});

describe('changed copies', () => {
  test('a changed copy leaves the original Spec unchanged', () => {
    const larger = resizeMap(features, 'counts', 9);
    assert.equal(larger.maps.get('counts')!.maxEntries, 9);
    assert.equal(map('counts').maxEntries, 1024);
    assert.equal(withMap(features, 'counts', { flags: 0 }).maps.get('counts')!.flags, 0);
    const set = setVariable(features, 'settings', Uint8Array.of(9, 9, 9, 9, 8, 8, 8, 8));
    assert.deepEqual([...set.maps.get('.rodata.config')!.contents!], [9, 9, 9, 9, 8, 8, 8, 8]);
    assert.equal(map('.rodata.config').contents![0], 1);
  });

  test('changes of missing maps and variables are refused', () => {
    assert.throws(() => resizeMap(features, 'absent', 1), /change map absent: .* no such map$/);
    assert.throws(() => setVariable(features, 'absent', new Uint8Array()), ReferenceError);
    assert.throws(() => setVariable(features, 'started', new Uint8Array(8)), RangeError);
  });
});
