import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { addWord, removeWord, splitWords, wordOf } from './filter-words.ts';

test('a filter is split at blanks outside of quotes and brackets', () => {
  const words = splitWords('ns:shop  -port:53 label:"a b" tier-in:(a, b) cart');
  assert.deepEqual(
    words.map(({ text }) => text),
    ['ns:shop', '-port:53', 'label:"a b"', 'tier-in:(a, b)', 'cart'],
  );
  assert.deepEqual(words[1], { text: '-port:53', isExcluded: true, key: 'port', value: '53' });
  assert.deepEqual(words[2], {
    text: 'label:"a b"',
    isExcluded: false,
    key: 'label',
    value: 'a b',
  });
  assert.deepEqual(words[4], { text: 'cart', isExcluded: false, key: '', value: 'cart' });
});

test('a word is removed by its index and added once', () => {
  assert.equal(removeWord('ns:shop port:53 cart', 1), 'ns:shop cart');
  assert.equal(addWord('ns:shop', 'port:53'), 'ns:shop port:53');
  assert.equal(addWord('ns:shop port:53', 'ns:shop'), 'ns:shop port:53');
});

test('a word made of any value is one word of the filter', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (value) => {
      const word = wordOf('path', value);
      assert.deepEqual(
        splitWords(`ns:shop ${word} cart`).map(({ text }) => text),
        ['ns:shop', word, 'cart'],
      );
    }),
  );
});

test('any filter is split without an error', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (filter) => {
      const joined = splitWords(filter).map(({ text }) => text);
      assert.deepEqual(
        splitWords(joined.join(' ')).map(({ text }) => text),
        joined,
      );
    }),
  );
});
