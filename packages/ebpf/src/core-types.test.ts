import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BtfBuilder } from '../testing/btf-builder.ts';
import { Btf, BtfError } from './btf.ts';
import { CoreResolver, RelocationError } from './core-relocation.ts';
import { fieldsCompatible, TypeComparison } from './core-types.ts';

function types() {
  const build = new BtfBuilder();
  const int = build.int('int', 4, 'signed');
  const long = build.int('long', 8, 'signed');
  const word = build.int('word', 4);
  const self = build.struct('self', 8, [{ name: 'next', type: 14, at: 0 }]);
  const ids = {
    int,
    long,
    word,
    self,
    struct: build.struct('pair', 8, [
      { name: 'a', type: int, at: 0 },
      { name: 'b', type: int, at: 32 },
    ]),
    part: build.struct('pair___part', 4, [{ name: 'b', type: int, at: 0 }]),
    other: build.struct('pair', 8, [{ name: 'b', type: long, at: 0 }]),
    forward: build.forward('pair'),
    union: build.union('pair', 4, []),
    enum: build.enum('state', { A: 1, B: 2 }),
    wider: build.enum64('state___v2', { B: 1n, A: 0n, C: 3n }),
    anonymous: build.enum('', { Z: 1 }),
    otherEnum: build.enum('color', { A: 1 }),
    toSelf: build.reference('ptr', self),
  };
  assert.equal(ids.toSelf, 14);
  const pointer = (type: number) => build.reference('ptr', type);
  const prototype = (...parameters: number[]) =>
    build.prototype(
      int,
      parameters.map((type) => ({ type })),
    );
  const more = {
    toStruct: pointer(ids.struct),
    toForward: pointer(ids.forward),
    toUnion: pointer(ids.union),
    toInt: pointer(int),
    toLong: pointer(long),
    three: build.array(int, 3),
    four: build.array(int, 4),
    longs: build.array(long, 3),
    takesInt: prototype(int),
    takesLong: prototype(long),
    takesTwo: prototype(int, int),
    returned: pointer(prototype(int)),
    old: build.int('old', 4, '', 8),
    float: build.float('float', 4),
  };
  return { btf: build.build(), ids: { ...ids, ...more } };
}

const { btf, ids } = types();

test('fields are compatible when a load of them is', () => {
  const fit = (a: keyof typeof ids, b: keyof typeof ids) =>
    fieldsCompatible(btf, ids[a], btf, ids[b]);
  for (const [a, b] of [
    ['int', 'long'],
    ['int', 'word'],
    ['struct', 'union'],
    ['struct', 'self'],
    ['toInt', 'toStruct'],
    ['three', 'four'],
    ['three', 'longs'],
    ['enum', 'wider'],
    ['enum', 'anonymous'],
    ['float', 'float'],
  ] as const) {
    assert.ok(fit(a, b), `${a} ${b}`);
    assert.ok(fit(b, a), `${b} ${a}`);
  }
  for (const [a, b] of [
    ['int', 'toInt'],
    ['int', 'enum'],
    ['int', 'old'],
    ['struct', 'forward'],
    ['enum', 'otherEnum'],
    ['three', 'int'],
    ['takesInt', 'takesInt'],
  ] as const) {
    assert.ok(!fit(a, b), `${a} ${b}`);
    assert.ok(!fit(b, a), `${b} ${a}`);
  }
});

test('types are compatible by their kinds', () => {
  const comparison = new TypeComparison(btf, btf);
  const fit = (a: keyof typeof ids, b: keyof typeof ids) => comparison.compatible(ids[a], ids[b]);
  for (const [a, b] of [
    ['int', 'long'],
    ['struct', 'self'],
    ['enum', 'wider'],
    ['enum', 'otherEnum'],
    ['toStruct', 'toSelf'],
    ['three', 'longs'],
    ['takesInt', 'takesLong'],
    ['forward', 'forward'],
  ] as const) {
    assert.ok(fit(a, b), `${a} ${b}`);
  }
  for (const [a, b] of [
    ['int', 'float'],
    ['struct', 'union'],
    ['toStruct', 'toInt'],
    ['takesInt', 'takesTwo'],
    ['int', 'old'],
  ] as const) {
    assert.ok(!fit(a, b), `${a} ${b}`);
  }
});

test('types match by their members and names', () => {
  const comparison = new TypeComparison(btf, btf);
  const fit = (a: keyof typeof ids, b: keyof typeof ids) => comparison.matches(ids[a], ids[b]);
  for (const [a, b] of [
    ['part', 'struct'],
    ['struct', 'struct'],
    ['self', 'self'],
    ['enum', 'wider'],
    ['toStruct', 'toForward'],
    ['toForward', 'toStruct'],
    ['forward', 'forward'],
    ['takesInt', 'takesInt'],
    ['three', 'three'],
  ] as const) {
    assert.ok(fit(a, b), `${a} ${b}`);
  }
  for (const [a, b] of [
    ['struct', 'part'],
    ['part', 'other'],
    ['part', 'union'],
    ['forward', 'struct'],
    ['toForward', 'toUnion'],
    ['toUnion', 'toForward'],
    ['wider', 'enum'],
    ['int', 'word'],
    ['int', 'long'],
    ['three', 'four'],
    ['takesInt', 'takesLong'],
    ['toInt', 'toLong'],
  ] as const) {
    assert.ok(!fit(a, b), `${a} ${b}`);
  }
});

test('damaged BTF on either side results in a typed error or in a comparison', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 12 }),
      fc.boolean(),
      fc.constantFrom('0', '0:0', '0:1', '1', '0:0:0'),
      (changes, changeLocal, access) => {
        const bytes = btf.bytes.slice();
        for (const [at, value] of changes) bytes[24 + (at % (bytes.length - 24))] = value;
        try {
          const damaged = Btf.parse(bytes);
          const [a, b] = changeLocal ? [damaged, btf] : [btf, damaged];
          const resolver = new CoreResolver(a, b);
          for (let typeId = 1; typeId < a.endId; typeId++) {
            for (let kind = 0; kind <= 13; kind++) {
              try {
                resolver.resolve({ at: 0, typeId, access, kind });
              } catch (error) {
                if (!(error instanceof RelocationError || error instanceof BtfError)) throw error;
              }
            }
          }
        } catch (error) {
          if (!(error instanceof BtfError)) throw error;
        }
      },
    ),
    { numRuns: 150 },
  );
});
