import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseListenAddress } from './listen-address.ts';

test('parseListenAddress reads addresses with ports, and ports of all addresses', () => {
  for (const [text, address, port] of [
    ['127.0.0.1:10249', '127.0.0.1', 10249],
    ['0.0.0.0:10256', '0.0.0.0', 10256],
    ['[::1]:80', '::1', 80],
    ['[0:0::1]:80', '::1', 80],
    [':10256', undefined, 10256],
    ['[::]:10256', undefined, 10256],
    ['127.0.0.1:0', '127.0.0.1', 0],
  ] as const) {
    assert.deepEqual(parseListenAddress(text), address ? { address, port } : { port }, text);
  }
});

test('parseListenAddress returns undefined for malformed text', () => {
  const wrong = ['', '80', ':', ':65536', '::1:80', 'localhost:80', '[127.0.0.1]:80', '1.2.3:4'];
  for (const text of [...wrong, '[::1]', '[]:80', '127.0.0.1', ':8 0', 'http://127.0.0.1:80']) {
    assert.equal(parseListenAddress(text), undefined, text);
  }
});
