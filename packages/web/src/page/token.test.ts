import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isToken } from './token.ts';

test('a token has visible ASCII characters only, so that it fits into a header', () => {
  for (const text of ['a', 'eyJhbGciOi.J9-_~+/=', '!'.repeat(8192)]) assert.ok(isToken(text), text);
  for (const text of ['', 'a b', 'a\n', 'a\r\nX: 1', 'schlüssel', '\u202e', 'a'.repeat(8193)]) {
    assert.ok(!isToken(text), JSON.stringify(text));
  }
});
