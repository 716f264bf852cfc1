import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeSockaddr, encodeSockaddr, endpointText, readEndpoint } from './endpoint.ts';

test('endpoints are read, encoded, decoded and written', () => {
  for (const text of ['10.0.0.1:80', '[fd00::1]:65535', '[::ffff:10.0.0.1]:9']) {
    assert.equal(endpointText(decodeSockaddr(encodeSockaddr(readEndpoint(text)))), text);
  }
  assert.deepEqual(
    [...encodeSockaddr({ address: '10.0.0.1', port: 0x1234 }).subarray(0, 8)],
    [2, 0, 0x12, 0x34, 10, 0, 0, 1],
  );
});

test('what is no endpoint is refused', () => {
  for (const bad of ['', '10.0.0.1', '10.0.0.1:99999', 'fd00::1:80', '[10.0.0:80', 'name:80']) {
    assert.throws(() => readEndpoint(bad), RangeError, bad);
  }
  assert.throws(() => decodeSockaddr(new Uint8Array(28)), RangeError);
  assert.throws(() => encodeSockaddr({ address: 'name', port: 1 }), RangeError);
});
