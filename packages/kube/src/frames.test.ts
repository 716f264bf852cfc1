import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeUtf8, encodeUtf8 } from '@heddle/sys';
import fc from 'fast-check';
import { LineFrames, ListFrames, ProtocolError } from './frames.ts';
import { JsonError, readJson } from './json.ts';

/** Gives bytes in pieces of the given lengths, then the rest. */
function pieces(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const out: Uint8Array[] = [];
  let at = 0;
  for (const length of lengths) {
    out.push(bytes.slice(at, at + length));
    at += length;
  }
  return [...out, bytes.slice(at)];
}

function lines(chunks: readonly Uint8Array[], most?: number): string[] {
  const found: string[] = [];
  const frames = new LineFrames((line) => found.push(decodeUtf8(line)), most);
  for (const chunk of chunks) frames.push(chunk);
  frames.end();
  return found;
}

function list(chunks: readonly Uint8Array[], most?: number) {
  const items: unknown[] = [];
  const heads: unknown[] = [];
  const frames = new ListFrames((item, head) => {
    items.push(readJson(item));
    heads.push(head);
  }, most);
  for (const chunk of chunks) frames.push(chunk);
  return { items, heads, whole: frames.end() };
}

const lengths = fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 60 });

test('LineFrames finds lines in any pieces of a body', () => {
  const line = fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\n', ''));
  fc.assert(
    fc.property(fc.array(line), lengths, (texts, lengths) => {
      const body = encodeUtf8(texts.map((text) => `${text}\n`).join(''));
      const wanted = texts
        .filter((text) => text !== '')
        .map((text) => decodeUtf8(encodeUtf8(text)));
      assert.deepEqual(lines(pieces(body, lengths)), wanted);
    }),
  );
});

test('LineFrames refuses a line that is too long or incomplete', () => {
  const bytes = encodeUtf8('123456789\n');
  assert.deepEqual(lines([bytes, bytes], 9), ['123456789', '123456789']);
  for (const cut of [0, 1, 5, 9]) {
    assert.throws(() => lines([bytes.slice(0, cut), bytes.slice(cut)], 8), ProtocolError);
  }
  assert.throws(() => lines([bytes, bytes.slice(0, 3)]), {
    name: 'ProtocolError',
    message: 'read watch event: the response ends within a line',
  });
});

const item = fc.dictionary(
  fc.constantFrom('a', 'items', '"', '{'),
  fc.oneof(
    fc.string({ unit: fc.constantFrom('"', '\\', '{', '}', '[', ']', ',', 'ä', '\n') }),
    fc.constantFrom(1, true, null, [], {}, [[{}], { items: ['}'] }]),
  ),
  { noNullPrototype: true },
);

test('ListFrames finds items in any pieces, among any other fields', () => {
  const rest = fc.dictionary(fc.constantFrom('kind', 'metadata', 'item', '"', 'items2'), item, {
    noNullPrototype: true,
  });
  const scene = [rest, fc.array(item), rest, fc.constantFrom('', ' ', '\n\t'), lengths] as const;
  fc.assert(
    fc.property(...scene, (before, items, after, space, lengths) => {
      const entries = (map: object) =>
        Object.entries(map).map(
          ([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`,
        );
      const itemTexts = items.map((each) => space + JSON.stringify(each) + space);
      const itemList = `"items"${space}:${space}[${itemTexts.join(',')}${space}]`;
      const text = `{${[...entries(before), itemList, ...entries(after)].join(`${space},`)}}${space}`;
      const found = list(pieces(encodeUtf8(text), lengths));
      assert.deepEqual(found.items, items);
      assert.deepEqual(found.whole, { ...JSON.parse(text), items: [] });
      for (const head of found.heads) assert.deepEqual(head, { ...before, items: [] });
    }),
  );
});

test('ListFrames accepts null for the items of an empty list', () => {
  assert.deepEqual(list([encodeUtf8('{"kind":"ServiceList","items":null}')]), {
    items: [],
    heads: [],
    whole: { kind: 'ServiceList', items: null },
  });
});

test('ListFrames ignores the key items below the top level', () => {
  const text = '{"metadata":{"items":[1]},"x":["items",[2]],"y":"items","items":[{"items":[3]}]}';
  assert.deepEqual(list([encodeUtf8(text)]).items, [{ items: [3] }]);
});

test('ListFrames refuses a list that is cut or damaged anywhere', () => {
  const text = '{"kind":"L","metadata":{"a":"\\""},"items":[{"a":"]}\\\\"},{"b":[1]}],"c":null}';
  const bytes = encodeUtf8(text);
  assert.equal(list([bytes]).items.length, 2);
  for (let cut = 0; cut < bytes.length; cut++) {
    for (const chunks of [[bytes.slice(0, cut)], pieces(bytes.slice(0, cut), [cut >> 1])]) {
      assert.throws(() => list(chunks), isTyped, `cut at ${cut}`);
    }
  }
  const others = fc.array(fc.tuple(fc.nat(bytes.length), fc.integer({ min: 0, max: 255 })));
  fc.assert(
    fc.property(others, lengths, (others, lengths) => {
      const damaged = bytes.slice();
      for (const [at, byte] of others) damaged[at] = byte;
      try {
        const { items, whole } = list(pieces(damaged, lengths));
        const plain = JSON.parse(decodeUtf8(damaged));
        assert.deepEqual({ ...(whole as object), items }, { items: [], ...plain });
      } catch (error) {
        if (!isTyped(error)) throw error;
      }
    }),
    { numRuns: 100 },
  );
});

test('ListFrames limits items and the rest of a list', () => {
  const bytes = encodeUtf8('{"items":[{"a":"1234567890"}]}');
  assert.equal(list([bytes], 18).items.length, 1);
  for (const cut of [0, 12, 20]) {
    assert.throws(() => list([bytes.slice(0, cut), bytes.slice(cut)], 17), ProtocolError);
  }
  const endless = encodeUtf8(`{"metadata":"${'x'.repeat(70_000)}`);
  assert.throws(() => list([endless]), ProtocolError);
});

function isTyped(error: unknown): boolean {
  return error instanceof ProtocolError || error instanceof JsonError;
}
