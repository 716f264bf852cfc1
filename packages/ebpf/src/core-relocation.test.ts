import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BtfBuilder } from '../testing/btf-builder.ts';
import { BtfError } from './btf.ts';
import { corePoison } from './core-patch.ts';
import {
  applyCoreRelocations,
  CoreKind,
  CoreResolver,
  describeRelocation,
  RelocationError,
} from './core-relocation.ts';
import type { CoreRelocation, ProgramSpec } from './spec.ts';

/** Returns the types that a program was compiled with. */
function program() {
  const build = new BtfBuilder();
  const u32 = build.int('unsigned int', 4);
  const s32 = build.int('int', 4, 'signed');
  const u8 = build.int('unsigned char', 1);
  const ids = {
    inner: build.struct('inner', 8, [
      { name: 'a', type: u32, at: 0 },
      { name: 'b', type: u32, at: 32 },
    ]),
    state: build.enum('state', { DOWN: 0, UP___mine: 1, ABSENT: 2 }),
    list: build.array(u32, 4),
    sock: 0,
    tcp: 0,
    typedef: 0,
    absent: build.struct('absent', 4, [{ name: 'x', type: u32, at: 0 }]),
    anonymous: build.struct('', 4, [{ name: 'x', type: u32, at: 0 }]),
    u32,
    flexible: 0,
  };
  const pair = build.union('', 4, [{ name: 'in_union', type: u32, at: 0 }]);
  ids.flexible = build.struct('flexible', 4, [
    { name: 'length', type: u32, at: 0 },
    { name: 'items', type: build.array(u32, 0), at: 32 },
  ]);
  ids.sock = build.struct('sock___mine', 64, [
    { name: 'port', type: u32, at: 0 }, // 0
    { name: 'nested', type: ids.inner, at: 32 }, // 1
    { name: 'list', type: ids.list, at: 96 }, // 2
    { name: 'next', type: build.reference('ptr', 0), at: 256 }, // 3
    { name: 'gone', type: u32, at: 320 }, // 4
    { name: '', type: pair, at: 352 }, // 5
    { name: 'sign', type: s32, at: 384 }, // 6
    { name: 'changed', type: u32, at: 416 }, // 7
    { name: 'state', type: ids.state, at: 448 }, // 8
    { name: 'short', type: u8, at: 480 }, // 9
  ]);
  ids.tcp = build.struct('tcp', 4, [
    { name: 'low', type: u32, at: 0, bits: 3 },
    { name: 'high', type: s32, at: 3, bits: 20 },
    { name: 'packed', type: s32, at: 23, bits: 9 },
  ]);
  ids.typedef = build.reference('typedef', ids.inner, 'inner_t');
  return { btf: build.build(), ids };
}

/** Returns the kernel's types: fields elsewhere, wider, deeper. */
function kernel() {
  const build = new BtfBuilder();
  const u64 = build.int('unsigned long', 8);
  const u16 = build.int('unsigned short', 2);
  const s32 = build.int('int', 4, 'signed');
  const u32 = build.int('unsigned int', 4);
  const ids = {
    state: build.enum64('state', { DOWN: 5n, UP: 0x1_0000_0007n }),
    inner: build.struct('inner', 16, [
      { name: 'b', type: u32, at: 32 },
      { name: 'a', type: u32, at: 96 },
    ]),
    sock: 0,
    tcp: 0,
    typedef: 0,
    flexible: 0,
  };
  const deepest = build.struct('', 8, [{ name: 'in_union', type: u32, at: 32 }]);
  const deep = build.union('', 8, [
    { name: 'other', type: u64, at: 0 },
    { name: '', type: deepest, at: 0 },
  ]);
  build.union('sock', 4, []);
  build.forward('sock');
  ids.sock = build.struct('sock', 128, [
    { name: '', type: deep, at: 64 },
    { name: 'port', type: u16, at: 16 },
    { name: 'nested', type: build.reference('const', ids.inner), at: 128 },
    { name: 'list', type: build.array(u32, 8), at: 256 },
    { name: 'next', type: build.reference('ptr', ids.inner), at: 576 },
    { name: 'sign', type: u64, at: 640 },
    { name: 'changed', type: build.float('double', 8), at: 704 },
    { name: 'state', type: ids.state, at: 768 },
    { name: 'short', type: s32, at: 832 },
  ]);
  ids.tcp = build.struct('tcp', 16, [
    { name: 'low', type: u32, at: 40, bits: 3 },
    { name: 'high', type: s32, at: 20, bits: 20 },
    { name: 'packed', type: s32, at: 60, bits: 9 },
  ]);
  ids.typedef = build.reference('typedef', build.reference('const', ids.inner), 'inner_t');
  ids.flexible = build.struct('flexible', 8, [
    { name: 'length', type: u64, at: 0 },
    { name: 'items', type: build.array(u32, 0), at: 64 },
  ]);
  return { btf: build.build(), ids };
}

const local = program();
const target = kernel();

function value(kind: number, typeId: number, access: string): bigint | undefined {
  return new CoreResolver(local.btf, target.btf).resolve({ at: 0, kind, typeId, access }).value;
}

describe('fields', () => {
  const { sock, tcp, typedef, flexible, inner } = local.ids;
  const offset = (access: string, type = sock) => value(CoreKind.fieldByteOffset, type, access);

  test('a field is found by name, whatever the flavor of the struct', () => {
    assert.equal(offset('0:0'), 2n);
    assert.equal(offset('0'), 0n);
    assert.equal(offset('2'), 256n);
  });

  test('a field is found in nested structs, behind modifiers and typedefs', () => {
    assert.equal(offset('0:1:0'), 28n);
    assert.equal(offset('0:1:1'), 20n);
    assert.equal(offset('0:0', typedef), 12n);
    assert.equal(offset('1:0', inner), 28n);
  });

  test('a field is found in structs and unions without a name, on both sides', () => {
    assert.equal(offset('0:5:0'), 12n);
  });

  test('a field is found in an array', () => {
    assert.equal(offset('0:2:3'), 44n);
    assert.equal(offset('0:1:5', flexible), 28n);
    assert.throws(() => offset('0:2:4'), BtfError);
  });

  test('a relocation has the size and the sign of a field', () => {
    assert.equal(value(CoreKind.fieldByteSize, sock, '0:0'), 2n);
    assert.equal(value(CoreKind.fieldByteSize, sock, '0:2'), 32n);
    assert.equal(value(CoreKind.fieldByteSize, sock, '0:8'), 8n);
    assert.equal(value(CoreKind.fieldSigned, sock, '0:6'), 0n);
    assert.equal(value(CoreKind.fieldSigned, sock, '0:9'), 1n);
    assert.equal(value(CoreKind.fieldSigned, tcp, '0:1'), 1n);
  });

  test('a relocation has the existence of a field', () => {
    assert.equal(value(CoreKind.fieldExists, sock, '0:0'), 1n);
    assert.equal(value(CoreKind.fieldExists, sock, '0:4'), 0n);
    // A float in the place of an integer is another field.
    assert.equal(value(CoreKind.fieldExists, sock, '0:7'), 0n);
    assert.equal(value(CoreKind.fieldExists, local.ids.absent, '0:0'), 0n);
  });

  test('the offset of a missing field has no value', () => {
    for (const kind of [0, 1, 3, 4, 5]) assert.equal(value(kind, sock, '0:4'), undefined);
  });

  test('a bit field is covered by one aligned load', () => {
    // Bits 40 to 42 are in the word at byte 4, bits 20 to 39 only in the eight bytes at 0.
    assert.equal(offset('0:0', tcp), 4n);
    assert.equal(value(CoreKind.fieldByteSize, tcp, '0:0'), 4n);
    assert.equal(value(CoreKind.fieldLeftShift, tcp, '0:0'), 64n - 11n);
    assert.equal(value(CoreKind.fieldRightShift, tcp, '0:0'), 61n);
    assert.equal(offset('0:1', tcp), 0n);
    assert.equal(value(CoreKind.fieldByteSize, tcp, '0:1'), 8n);
    assert.equal(value(CoreKind.fieldLeftShift, tcp, '0:1'), 24n);
    assert.equal(value(CoreKind.fieldRightShift, tcp, '0:1'), 44n);
    assert.throws(() => offset('0:2', tcp), /bit field that no load covers/);
    assert.equal(value(CoreKind.fieldLeftShift, sock, '0:0'), 48n);
    assert.equal(value(CoreKind.fieldRightShift, sock, '0:0'), 48n);
  });

  test('an access string must fit the type', () => {
    for (const access of ['', '0:', '0:x', '0:99', '0:0:1', '-1', '0:1:2']) {
      assert.throws(() => offset(access), BtfError, access);
    }
  });
});

describe('types', () => {
  const { sock, inner, absent, typedef, u32 } = local.ids;

  test('a relocation has the id, the size and the existence of a type', () => {
    assert.equal(value(CoreKind.typeIdLocal, sock, '0'), BigInt(sock));
    assert.equal(value(CoreKind.typeIdTarget, sock, '0'), BigInt(target.ids.sock));
    assert.equal(value(CoreKind.typeSize, sock, '0'), 128n);
    assert.equal(value(CoreKind.typeExists, sock, '0'), 1n);
    assert.equal(value(CoreKind.typeIdTarget, typedef, '0'), BigInt(target.ids.typedef));
    assert.equal(value(CoreKind.typeExists, u32, '0'), 1n);
  });

  test('the relocation of a missing type is 0', () => {
    for (const kind of [7, 8, 9, 12]) assert.equal(value(kind, absent, '0'), 0n);
  });

  test('a type matches by its members', () => {
    assert.equal(value(CoreKind.typeMatches, inner, '0'), 1n);
    assert.equal(value(CoreKind.typeMatches, sock, '0'), 0n);
  });

  test('a type without a name is refused', () => {
    assert.throws(() => value(CoreKind.typeExists, local.ids.anonymous, '0'), RelocationError);
    assert.equal(
      value(CoreKind.typeIdLocal, local.ids.anonymous, '0'),
      BigInt(local.ids.anonymous),
    );
  });

  test('an unknown kind of relocation is refused', () => {
    assert.throws(() => value(13, sock, '0'), /kind 13 is unknown/);
  });
});

describe('enumerators', () => {
  const { state } = local.ids;

  test('an enumerator is found by name, in enums of either width', () => {
    assert.equal(value(CoreKind.enumeratorExists, state, '0'), 1n);
    assert.equal(value(CoreKind.enumeratorValue, state, '0'), 5n);
    assert.equal(value(CoreKind.enumeratorValue, state, '1'), 0x1_0000_0007n);
  });

  test('an enumerator may be missing', () => {
    assert.equal(value(CoreKind.enumeratorExists, state, '2'), 0n);
    assert.equal(value(CoreKind.enumeratorValue, state, '2'), undefined);
    assert.throws(() => value(CoreKind.enumeratorValue, state, '3'), BtfError);
  });
});

describe('several candidates', () => {
  const twice = (first: number, second: number) => {
    const build = new BtfBuilder();
    const u32 = build.int('unsigned int', 4);
    for (const at of [first, second]) {
      build.struct('inner', 16, [{ name: 'a', type: u32, at }]);
    }
    build.struct('inner___other', 32, [{ name: 'c', type: u32, at: 0 }]);
    return new CoreResolver(local.btf, build.build());
  };
  const field = { at: 0, typeId: local.ids.inner, access: '0:0' };

  test('candidates with equal results have that result', () => {
    assert.equal(twice(64, 64).resolve({ ...field, kind: CoreKind.fieldByteOffset }).value, 8n);
  });

  test('candidates that contradict each other are refused', () => {
    const resolver = twice(64, 32);
    assert.throws(
      () => resolver.resolve({ ...field, kind: CoreKind.fieldByteOffset }),
      /fieldByteOffset of struct inner\.a: types 2 and 3 of the kernel both fit, and differ/,
    );
  });

  test('only candidates that fitted before are used', () => {
    const resolver = twice(64, 64);
    const size = { at: 0, typeId: local.ids.inner, access: '0', kind: CoreKind.typeSize };
    assert.throws(() => resolver.resolve(size), RelocationError);
    resolver.resolve({ ...field, kind: CoreKind.fieldByteOffset });
    assert.equal(resolver.resolve(size).value, 16n);
  });
});

describe('instructions', () => {
  const opcodes = { loadWord: 0x61, storeByte: 0x73, storeImmediate: 0x62, move: 0xb7 };

  /** Slots after one relocation was applied to the first. */
  function patched(opcode: number, relocation: Omit<CoreRelocation, 'at'>): Uint8Array {
    const instructions = new Uint8Array(opcode === 0x18 ? 16 : 8);
    instructions.set([opcode, 0x21]);
    const spec: ProgramSpec = {
      name: 'example',
      section: 'tc',
      type: 3,
      attachType: 0,
      attachTo: undefined,
      flags: 0,
      instructions,
      references: [],
      relocations: [{ at: 0, ...relocation }],
      functions: [],
      lines: [],
    };
    const result = applyCoreRelocations(spec, local.btf, target.btf);
    assert.equal(instructions[7], 0);
    return result;
  }
  const { sock, state } = local.ids;
  const field = (access: string, kind: number = CoreKind.fieldByteOffset) => ({
    typeId: sock,
    access,
    kind,
  });
  const poison = [0x85, 0, 0, 0, 0x10, 0x23, 0xad, 0x0b];

  test('an immediate value is patched', () => {
    assert.deepEqual([...patched(opcodes.move, field('0:1:0'))], [0xb7, 0x21, 0, 0, 28, 0, 0, 0]);
  });

  test('an offset is patched', () => {
    const bytes = patched(opcodes.storeImmediate, field('0:2:1'));
    assert.deepEqual([...bytes], [0x62, 0x21, 36, 0, 0, 0, 0, 0]);
  });

  test('a 64-bit value is patched', () => {
    const bytes = patched(0x18, {
      typeId: state,
      access: '1',
      kind: CoreKind.enumeratorValue,
    });
    assert.deepEqual([...bytes], [0x18, 0x21, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
  });

  test('a load gets the width of the field in the kernel', () => {
    assert.deepEqual([...patched(opcodes.loadWord, field('0:0'))].slice(0, 3), [0x69, 0x21, 2]);
  });

  test('a load is poisoned where another width results in another number', () => {
    assert.deepEqual([...patched(opcodes.loadWord, field('0:6'))], poison);
    assert.deepEqual([...patched(opcodes.storeByte, field('0:9'))], poison);
  });

  test('an instruction is poisoned where the kernel lacks the field', () => {
    assert.equal(corePoison, 0xbad2310);
    assert.deepEqual([...patched(opcodes.move, field('0:4'))], poison);
    assert.deepEqual(
      [...patched(0x18, { typeId: state, access: '2', kind: CoreKind.enumeratorValue })],
      [...poison, ...poison],
    );
  });

  test('an instruction that can not hold the value is refused', () => {
    // A call, an addition of a register, a byte load of what was a word, a value of 33 bits.
    assert.throws(() => patched(0x85, field('0:0')), /relocate example, .*: instruction takes no/);
    assert.throws(() => patched(0x0f, field('0:0')), /arithmetic without an immediate/);
    assert.throws(() => patched(0x71, field('0:0')), /field of 4 bytes has 2 in the kernel/);
    assert.throws(
      () => patched(0xb7, { typeId: state, access: '1', kind: CoreKind.enumeratorValue }),
      /exceeds 32 bits/,
    );
  });
});

test('an error describes the relocation in words', () => {
  const { sock, state, inner } = local.ids;
  const words = (kind: number, typeId: number, access: string) =>
    describeRelocation({ at: 0, kind, typeId, access }, local.btf);
  assert.equal(words(0, sock, '0:2:3'), 'fieldByteOffset of struct sock___mine.list[3]');
  assert.equal(words(2, inner, '1:0'), 'fieldExists of struct inner[1].a');
  assert.equal(words(9, inner, '0'), 'typeSize of struct inner');
  assert.equal(words(10, state, '2'), 'enumeratorExists of enum state.ABSENT');
});
