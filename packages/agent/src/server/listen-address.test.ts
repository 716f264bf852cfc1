import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatIp } from '@heddle/sys';
import { parseListenAddress } from './listen-address.ts';

const read = (text: string) => {
  const parsed = parseListenAddress(text);
  return parsed && `${parsed.address ? formatIp(parsed.address) : 'all'} ${parsed.port}`;
};

test('addresses to listen on', () => {
  assert.equal(read('127.0.0.1:10249'), '127.0.0.1 10249');
  assert.equal(read('0.0.0.0:10256'), '0.0.0.0 10256');
  assert.equal(read('[::1]:80'), '::1 80');
  assert.equal(read(':10256'), 'all 10256');
  assert.equal(read('[::]:10256'), 'all 10256');
  assert.equal(read('127.0.0.1:0'), '127.0.0.1 0');
});

test('what is none', () => {
  const wrong = ['', '80', ':', ':65536', '::1:80', 'localhost:80', '[127.0.0.1]:80', '1.2.3:4'];
  for (const text of [...wrong, '[::1]', '[]:80', '127.0.0.1', ':8 0', 'http://127.0.0.1:80']) {
    assert.equal(parseListenAddress(text), undefined, text);
  }
});
