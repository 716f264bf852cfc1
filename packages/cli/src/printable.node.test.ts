import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import fc from 'fast-check';
import { readableLine } from './log.ts';
import { formatFacts, formatTable } from './print.ts';
import { printable, printableLines } from './printable.ts';

/** Escape sequences of ECMA-48 in both forms, a title, a bell, and right-to-left text. */
const hostile = 'web\u001b[2J\u001b]0;title\u0007\u009b1m\u007f\r\n\u202edone';
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what must not be there.
const unsafe = /[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

test('printable escapes control sequences', () => {
  assert.equal(
    printable(hostile),
    'web\\u001b[2J\\u001b]0;title\\u0007\\u009b1m\\u007f\\u000d\\u000a\\u202edone',
  );
  const table = formatTable(['NAME'], [[hostile], [{ text: hostile, style: 'red' }]]);
  for (const text of [
    table,
    formatFacts([['name', hostile]]),
    readableLine('info', hostile, { name: hostile }, '2026-01-02T03:04:05.678Z', { NO_COLOR: '1' }),
  ]) {
    assert.doesNotMatch(stripVTControlCharacters(text), unsafe);
  }
  assert.equal(table.split('\n').length, 4, 'a name is one line');
});

test('printableLines makes any text safe and keeps JSON equivalent', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      assert.doesNotMatch(printable(text), unsafe);
      assert.equal(printable(text).includes('\n'), false);
      const value = { name: text, [text]: 1 };
      assert.deepEqual(JSON.parse(printableLines(JSON.stringify(value, null, 2))), value);
    }),
  );
});

test('printableLines keeps styles and escapes sequences that hide text', () => {
  assert.equal(printableLines('\u001b[31mred\u001b[39m\nnext'), '\u001b[31mred\u001b[39m\nnext');
  assert.equal(printableLines('\u001b[8mhidden'), '\\u001b[8mhidden');
});
