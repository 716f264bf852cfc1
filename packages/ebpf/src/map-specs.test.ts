import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BtfBuilder } from '../testing/btf-builder.ts';
import { ElfBuilder } from '../testing/elf-builder.ts';
import { readObject } from './object-spec.ts';

/** Returns an object with one map, `m`, whose fields the test gives as types. */
function mapOf(fields: (build: BtfBuilder) => Readonly<Record<string, number>>) {
  const build = new BtfBuilder();
  const entries = Object.entries(fields(build));
  const members = entries.map(([name, type], i) => ({ name, type, at: 64 * i }));
  const struct = build.struct('', 8 * members.length, members);
  build.section('.maps', 0, [[build.variable('m', struct), 0, 8 * members.length]]);
  const elf = new ElfBuilder();
  elf.section({ name: '.maps', bytes: new Uint8Array(8 * members.length), flags: 3 });
  elf.section({ name: '.BTF', bytes: build.bytes(), flags: 0 });
  return () => readObject(elf.bytes()).maps.get('m')!;
}

const int = (build: BtfBuilder) => build.int('int', 4, 'signed');
const pointer = (build: BtfBuilder, type: number) => build.reference('ptr', type);
/** Returns the form of a number: a pointer to an array of as many elements. */
const number = (build: BtfBuilder, value: number) => pointer(build, build.array(int(build), value));

test('numbers of map definitions are lengths of arrays, or enumerators', () => {
  const map = mapOf((build) => ({
    type: number(build, 2),
    max_entries: build.reference('typedef', number(build, 7), 'seven'),
    map_extra: build.enum64('', { extra: 0x1_0000_0000n }),
    key: pointer(build, build.reference('typedef', int(build), 'key_t')),
    value_size: number(build, 100),
  }))();
  assert.deepEqual(
    [map.type, map.maxEntries, map.keySize, map.valueSize, map.extra, map.valueTypeId],
    [2, 7, 4, 100, 0x1_0000_0000n, 0],
  );
});

test('a map definition may have a size twice, but not two different sizes', () => {
  const sizes = (value: number) =>
    mapOf((build) => ({ key_size: number(build, value), key: pointer(build, int(build)) }));
  assert.equal(sizes(4)().keySize, 4);
  assert.throws(sizes(8), /map m: key_size 8 but key has 4 bytes/);
});

test('wrong map definitions are refused', () => {
  assert.throws(
    mapOf((build) => ({ color: number(build, 1) })),
    /map m: unknown field color/,
  );
  assert.throws(
    mapOf((build) => ({ type: int(build) })),
    /map m: type is not a pointer to an array/,
  );
  assert.throws(
    mapOf((build) => ({ key: int(build) })),
    /map m: key is not a pointer/,
  );
  assert.throws(
    mapOf((build) => ({ value: pointer(build, build.forward('later')) })),
    /has no size/,
  );
  assert.throws(
    mapOf((build) => ({ values: build.array(pointer(build, int(build)), 0) })),
    /map m: values are neither maps nor functions/,
  );
});

test('old forms of map definitions are refused with advice', () => {
  const only = (name: string) => {
    const elf = new ElfBuilder();
    elf.section({ name, bytes: new Uint8Array(8) });
    return () => readObject(elf.bytes());
  };
  assert.throws(only('maps'), /define maps by BTF/);
  assert.throws(only('.maps'), /compile with -g/);
});

test('data sections with content become maps', () => {
  const elf = new ElfBuilder();
  elf.section({ name: '.data', bytes: new Uint8Array() });
  elf.section({ name: '.database', bytes: new Uint8Array(4) });
  elf.section({ name: '.rodata.str1.1', bytes: Uint8Array.of(104, 105, 0) });
  elf.section({ name: '.bss.mine', type: 8, size: 5 });
  const { maps } = readObject(elf.bytes());
  assert.deepEqual([...maps.keys()], ['.rodata.str1.1', '.bss.mine']);
  assert.deepEqual([...maps.get('.bss.mine')!.contents!], [0, 0, 0, 0, 0]);
});

test('wrong data sections are refused', () => {
  const huge = new ElfBuilder();
  huge.section({ name: '.bss', type: 8, size: 0xffff_fff0 });
  assert.throws(() => readObject(huge.bytes()), /section \.bss of 4294967280 bytes is too large/);
  const beyond = new ElfBuilder();
  const data = beyond.section({ name: '.data', bytes: new Uint8Array(4) });
  beyond.symbol({ name: 'x', type: 1, section: data, value: 2, size: 4 });
  assert.throws(() => readObject(beyond.bytes()), /variable x lies beyond \.data/);
  const address = new ElfBuilder();
  const section = address.section({ name: '.data', bytes: new Uint8Array(8) });
  address.relocation(section, 0, 2, address.symbol({ name: 'name', type: 1, section, size: 8 }));
  assert.throws(() => readObject(address.bytes()), /section \.data holds the address of name/);
});
