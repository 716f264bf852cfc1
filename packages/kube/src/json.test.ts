import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeUtf8, encodeUtf8 } from '@heddle/sys';
import fc from 'fast-check';
import { type Fields, mergeFields } from './fields.ts';
import { JsonError, readJson } from './json.ts';

const read = (text: string, fields?: Fields) => readJson(encodeUtf8(text), fields);

/** Returns another implementation of selections. */
function prune(value: unknown, fields: Fields): unknown {
  if (fields === true || typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => prune(item, fields));
  const kept = Object.entries(value)
    .filter(([key]) => Object.hasOwn(fields, key))
    .map(([key, inner]): [string, unknown] => [key, prune(inner, fields[key]!)]);
  return Object.fromEntries(kept);
}

// Few keys, so that selections hit and keys repeat; with characters that JSON writes in several ways.
// None with a backslash: having seen {"":1,"\\\\":2}, Node.js 26 reads {"":1,"\\u0061":2} as the same.
const key = fc.oneof(
  fc.constantFrom('a', 'b', 'name', 'emaN', 'ä', '"', '/', '\u2028', '__proto__', '0', ''),
  fc.string({ unit: 'binary', maxLength: 4 }).filter((text) => !text.includes('\\')),
);
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 6, withCrossShrink: true },
    fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.integer(),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.constantFrom(true, false, null),
    ),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(key, tie('value'), { maxKeys: 6, noNullPrototype: true }),
  ),
}));
const { fields } = fc.letrec<{ fields: Fields }>((tie) => ({
  fields: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constant(true as const),
    fc.dictionary(key, tie('fields'), {
      maxKeys: 5,
      noNullPrototype: true,
    }) as fc.Arbitrary<Fields>,
  ),
}));

/** JSON of a value with random white space, escapes and repeated keys. */
function write(value: unknown, random: () => number): string {
  const space = () => ['', '', '', ' ', '\n', '\t\r '][random() % 6]!;
  const text = (plain: string) => {
    let out = '"';
    for (let i = 0; i < plain.length; i++) {
      const code = plain.charCodeAt(i);
      const hex = code.toString(16).padStart(4, '0');
      const mustEscape =
        code < 0x20 || code === 0x22 || code === 0x5c || (code & 0xf800) === 0xd800;
      if (random() % 8 === 0) out += `\\u${random() % 2 ? hex : hex.toUpperCase()}`;
      else if (mustEscape) out += JSON.stringify(plain[i]).slice(1, -1);
      else if (code === 0x2f && random() % 2) out += '\\/';
      else out += plain[i];
    }
    return `${out}"`;
  };
  const any = (inner: unknown): string => {
    const body = Array.isArray(inner)
      ? `[${inner.map(any).join(',')}${inner.length ? '' : space()}]`
      : typeof inner === 'object' && inner !== null
        ? `{${Object.entries(inner)
            .flatMap(([name, each]) => {
              const entry = `${space()}${text(name)}${space()}:${any(each)}`;
              return random() % 5 === 0 ? [`${text(name)}:[1,{}]`, entry] : [entry];
            })
            .join(',')}${space()}}`
        : typeof inner === 'string'
          ? text(inner)
          : typeof inner === 'number' && random() % 3 === 0 && inner !== 0
            ? inner.toExponential().replace('e', random() % 2 ? 'e' : 'E')
            : JSON.stringify(inner);
    return space() + body + space();
  };
  return any(value);
}

function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 8;
  };
}

test('readJson returns the selected part of the result of JSON.parse', () => {
  fc.assert(
    fc.property(value, fields, fc.integer(), (value, fields, seed) => {
      const text = write(value, randomFrom(seed));
      const parsed = JSON.parse(text);
      assert.deepEqual(read(text), parsed);
      assert.deepEqual(read(text, fields), prune(parsed, fields));
    }),
    { numRuns: 200 },
  );
});

test('readJson refuses exactly what JSON.parse refuses', () => {
  const isJson = (text: string) => {
    try {
      JSON.parse(text);
      return true;
    } catch {
      return false;
    }
  };
  const check = (bytes: Uint8Array, fields: Fields) => {
    const wanted = isJson(decodeUtf8(bytes));
    try {
      readJson(bytes, fields);
      assert.ok(wanted, decodeUtf8(bytes));
    } catch (error) {
      if (!(error instanceof JsonError)) throw error;
      assert.ok(!wanted, decodeUtf8(bytes));
      assert.ok(error.offset >= 0 && error.offset <= bytes.length);
    }
  };
  const replacement = fc.tuple(fc.nat(), fc.constantFrom(...'{}[]",:\\ue0-+.19 tn\n\x01\x7f'));
  fc.assert(
    fc.property(value, fields, fc.array(replacement, { maxLength: 3 }), fc.nat(), (...given) => {
      const [value, fields, replacements, cut] = given;
      let text = write(value, randomFrom(cut));
      for (const [at, character] of replacements) {
        const i = at % (text.length + 1);
        text = text.slice(0, i) + character + text.slice(i + (at % 2));
      }
      check(encodeUtf8(text), fields);
      check(encodeUtf8(text).subarray(0, cut % (text.length + 1)), fields);
    }),
    { numRuns: 300 },
  );
  fc.assert(fc.property(fc.uint8Array(), fields, (bytes, fields) => check(bytes, fields)));
  const odd = ['', ' ', '01', '-', '-0', '1.', '.5', '1e', '1e+', '+1', '1e400', '-1e-400', 'nul'];
  const more = [
    '"\t"',
    '"\\x"',
    '"\\u12g4"',
    '[1,]',
    '{"a":1,}',
    '{"a"}',
    '{a:1}',
    '1 2',
    '\ufeff1',
  ];
  for (const text of [...odd, ...more, '9007199254740993', '123456789012345678']) {
    check(encodeUtf8(text), true);
    check(encodeUtf8(`{"skipped":${text}}`), { other: true });
    if (isJson(text)) assert.deepEqual(read(text), JSON.parse(text));
  }
});

test('readJson reads a key with a backslash', () => {
  assert.deepEqual(read('{"\\\\":1,"\\u0061":2}'), { '\\': 1, a: 2 });
  assert.deepEqual(read('{"\\\\":1,"\\u0061":2}', { '\\': true }), { '\\': 1 });
});

test('a JsonError has the reason and the place', () => {
  assert.throws(() => read('{"a": tru3}'), { message: 'read JSON: unexpected 3 at byte 9' });
  assert.throws(() => read('{"a": "x'), { message: 'read JSON: unexpected end at byte 8' });
  assert.throws(() => read('"\n"'), { message: 'read JSON: unexpected 0xa at byte 1' });
});

test('readJson limits nesting, also in skipped values', () => {
  const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
  assert.doesNotThrow(() => read(nested(256)));
  assert.throws(() => read(nested(257)), JsonError);
  assert.throws(() => read(`{"a":${nested(100_000)}}`, {}), JsonError);
  assert.throws(() => read('{"a":'.repeat(100_000)), JsonError);
});

test('a selection names some keys of a map', () => {
  const labels = '{"labels":{"a/b":"1","a/c":"2","\\u0061/d":"3"}}';
  assert.deepEqual(read(labels, { labels: { 'a/b': true, 'a/d': true } }), {
    labels: { 'a/b': '1', 'a/d': '3' },
  });
});

test('mergeFields merges two selections', () => {
  fc.assert(
    fc.property(fields, fields, value, (a, b, value) => {
      const parsed = JSON.parse(JSON.stringify(value));
      const both = prune(parsed, mergeFields(a, b));
      assert.deepEqual(prune(both, a), prune(parsed, a));
      assert.deepEqual(prune(both, b), prune(parsed, b));
    }),
  );
});
