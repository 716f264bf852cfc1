import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decodeUtf8 } from '@heddle/sys';
import * as codecs from '../testdata/generated/codecs.ts';
import { BtfBuilder } from '../testing/btf-builder.ts';
import { codecsOf } from '../testing/codecs-of.ts';
import { fixture } from '../testing/fixture.ts';
import { generateBindings } from './bindings.ts';
import { camelCase, enumeratorNames, pascalCase } from './bindings-names.ts';
import type { ObjectSpec } from './spec.ts';

const value: codecs.Everything = {
  tiny: 1,
  wideSigned: -2n,
  networkWord: 0x01020304,
  networkLong: 0x0102030405060708n,
  flag: true,
  smallSigned: -3,
  halfSigned: -4,
  state: codecs.backendState.drainingSlowly,
  fullState: codecs.backendState.active,
  number: codecs.signedNumber.minusOne,
  large: codecs.largeFlag.large,
  nested: { address: new Uint8Array(16).fill(1), port: 443, protocol: 6, zone: 9 },
  list: [
    { address: new Uint8Array(16).fill(2), port: 80, protocol: 6, zone: 1 },
    { address: new Uint8Array(16).fill(3), port: 53, protocol: 17, zone: 2 },
  ],
  words: [1, 2, 0xffffffff],
  longs: [1n, 0xffff_ffff_ffff_ffffn],
  ports: [1, 0x1234],
  grid: [
    [1, 2, 3],
    [4, 5, 6],
  ],
  text: Uint8Array.of(104, 101, 108, 108, 111),
  either: Uint8Array.of(1, 2, 3, 4, 5, 6, 0, 0),
  pointer: 0xdead_beefn,
  pair: { first: 7, second: 8 },
  inlined: 0x55667788,
  last: 255,
};

const written = () => {
  const bytes = new Uint8Array(codecs.everythingSize).fill(0xaa);
  codecs.encodeEverything(value, bytes);
  return bytes;
};

describe('codecs', () => {
  test('the committed codecs are those that the generator writes', () => {
    const text = decodeUtf8(fixture('generated/codecs.ts'));
    assert.equal(text, codecsOf(fixture('codecs.o')), 'run testing/write-codecs.ts');
  });

  test('a codec decodes what it has encoded', () => {
    assert.deepEqual(codecs.decodeEverything(written()), value);
  });

  test('a codec works at any offset', () => {
    const bytes = new Uint8Array(codecs.everythingSize + 24).fill(0x55);
    codecs.encodeEverything(value, bytes.subarray(8), 3);
    assert.deepEqual(codecs.decodeEverything(bytes, 11), value);
    assert.ok([...bytes.subarray(0, 11), ...bytes.subarray(-13)].every((byte) => byte === 0x55));
  });

  test('a decoded value shares no memory with the bytes', () => {
    const bytes = written();
    const decoded = codecs.decodeEverything(bytes);
    bytes.fill(0);
    assert.deepEqual(decoded, value);
  });

  test('a codec has the field offsets of the compiler', () => {
    const bytes = written();
    const view = new DataView(bytes.buffer);
    assert.equal(view.getBigInt64(8, true), -2n);
    assert.deepEqual([...bytes.subarray(16, 20)], [1, 2, 3, 4]);
    assert.deepEqual([...bytes.subarray(24, 32)], [1, 2, 3, 4, 5, 6, 7, 8]);
    assert.equal(bytes[36], 200);
    assert.equal(view.getBigUint64(48, true), 0x1_0000_0000n);
    assert.equal(view.getUint16(56 + 16, false), 443);
    assert.equal(bytes.length, 216);
  });

  test('a codec has the offset of each field', () => {
    const { offsets, size, encode, decode } = codecs.everythingCodec;
    assert.deepEqual(Object.keys(offsets), Object.keys(value));
    assert.equal(size, codecs.everythingSize);
    const bytes = written();
    const view = new DataView(bytes.buffer);
    assert.equal(view.getBigInt64(offsets.wideSigned, true), value.wideSigned);
    assert.deepEqual(bytes.subarray(offsets.text, offsets.text + 5), value.text);
    assert.equal(bytes[offsets.last], value.last);
    const copy = new Uint8Array(size);
    encode(decode(bytes), copy);
    assert.deepEqual(copy, bytes);
  });

  test('encoding zeroes the padding', () => {
    const bytes = written();
    const padding = [1, 7, 20, 23, 37, 39, 56 + 19, 181, 183, 209, 215];
    for (const at of padding) assert.equal(bytes[at], 0, `byte ${at}`);
    assert.ok(!bytes.includes(0xaa));
  });

  test('a codec refuses arrays of the wrong length and bytes that are too short', () => {
    const into = new Uint8Array(codecs.everythingSize);
    const wrong = (changes: Partial<codecs.Everything>) => () =>
      codecs.encodeEverything({ ...value, ...changes }, into);
    assert.throws(wrong({ text: new Uint8Array(4) }), /encode everything.text: length 4, want 5/);
    assert.throws(wrong({ words: [1] }), /encode everything.words: length 1, want 3/);
    assert.throws(wrong({ grid: [[1, 2, 3], []] }), /encode everything.grid: length 0, want 3/);
    for (const short of [into.subarray(1), into.subarray(0, -1), new Uint8Array()]) {
      assert.throws(() => codecs.encodeEverything(value, short), RangeError);
      assert.throws(() => codecs.decodeEverything(short), RangeError);
    }
    assert.throws(() => codecs.decodeEverything(into, -1), RangeError);
  });
});

describe('generateBindings', () => {
  /** A Spec that has nothing but types. */
  const types = (add: (build: BtfBuilder) => void): ObjectSpec => {
    const build = new BtfBuilder();
    add(build);
    const nothing = new Map();
    return {
      license: '',
      btf: build.build(),
      programs: nothing,
      maps: nothing,
      variables: nothing,
    };
  };
  const single = (size: number) =>
    types((build) => {
      build.struct('single', size, [{ name: 'x', type: build.int('int', size), at: 0 }]);
    });

  test('the generator accepts types that are equal in all objects, and refuses others', () => {
    const text = generateBindings([single(4), single(4)], { structs: ['single'] });
    assert.equal(text.split('export const singleSize').length, 2);
    assert.throws(
      () => generateBindings([single(4), single(2)], { structs: ['single'] }),
      /single is not the same in all objects/,
    );
  });

  test('the generator names the types that are missing', () => {
    assert.throws(
      () => generateBindings([single(4)], { structs: ['single', 'other'], enums: ['state'] }),
      /no object has the types other, state/,
    );
  });

  test('the generator refuses bit fields, unions without a name and other types without a codec', () => {
    const refused = (reason: RegExp, add: (build: BtfBuilder) => void) =>
      assert.throws(() => generateBindings([types(add)], { structs: ['s'] }), reason);
    refused(/s\.x is a bit field that is not a whole number of bytes/, (build) => {
      build.struct('s', 4, [{ name: 'x', type: build.int('int', 4), at: 0, bits: 3 }]);
    });
    refused(/s has a union without a name/, (build) => {
      build.struct('s', 4, [{ type: build.union('', 4, []), at: 0 }]);
    });
    refused(/s\.x is an array without a length/, (build) => {
      build.struct('s', 4, [{ name: 'x', type: build.array(build.int('int', 4), 0), at: 0 }]);
    });
    refused(/s has two fields xY/, (build) => {
      const int = build.int('int', 4);
      build.struct('s', 8, [
        { name: 'x_y', type: int, at: 0 },
        { name: 'xY', type: int, at: 32 },
      ]);
    });
  });
});

test('names of C become those of TypeScript', () => {
  assert.equal(camelCase('service_key'), 'serviceKey');
  assert.equal(camelCase('__opaque_u32'), 'opaqueU32');
  assert.equal(camelCase('SLOT_COUNT'), 'slotCount');
  assert.equal(camelCase('alreadyCamel'), 'alreadyCamel');
  assert.equal(pascalCase('service_key'), 'ServiceKey');
  assert.deepEqual(enumeratorNames(['STATE_UP', 'STATE_GOING_DOWN']), ['up', 'goingDown']);
  assert.deepEqual(enumeratorNames(['A_B', 'A']), ['aB', 'a']);
  assert.deepEqual(enumeratorNames(['IP_4', 'IP_6']), ['ip4', 'ip6']);
  assert.deepEqual(enumeratorNames(['ONLY_ONE']), ['onlyOne']);
});
