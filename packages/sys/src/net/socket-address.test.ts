import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  decodeSockaddr,
  encodeInt,
  encodePacketSockaddr,
  encodeSockaddr,
  encodeTimeout,
  encodeUnixSockaddr,
  formatSocketAddress,
  readSocketAddress,
} from './socket-address.ts';

test('a socket address is read, encoded, decoded and formatted', () => {
  for (const text of ['10.0.0.1:80', '[fd00::1]:65535', '[::ffff:10.0.0.1]:9']) {
    const decoded = decodeSockaddr(encodeSockaddr(readSocketAddress(text)));
    assert.equal(formatSocketAddress(decoded), text);
  }
});

test('the encoders of socket addresses write the layouts of the kernel', () => {
  assert.deepEqual(
    [...encodeSockaddr({ address: '10.0.0.1', port: 0x1234 })],
    [2, 0, 0x12, 0x34, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
  );
  const v6 = encodeSockaddr({ address: 'fd00::1', port: 0x1234 });
  assert.deepEqual([...v6.subarray(0, 10)], [10, 0, 0x12, 0x34, 0, 0, 0, 0, 0xfd, 0]);
  assert.equal(v6.length, 28);
  assert.equal(v6[23], 1);
  assert.deepEqual([...encodeUnixSockaddr('/a')], [1, 0, 0x2f, 0x61, 0]);
  assert.deepEqual([...encodePacketSockaddr(7, 3).subarray(0, 8)], [17, 0, 0, 3, 7, 0, 0, 0]);
});

test('encodeInt and encodeTimeout write values of socket options', () => {
  assert.deepEqual([...encodeInt(0x01020304)], [4, 3, 2, 1]);
  const view = new DataView(encodeTimeout(1500).buffer);
  assert.deepEqual([view.getBigInt64(0, true), view.getBigInt64(8, true)], [1n, 500_000n]);
});

test('malformed socket addresses are refused', () => {
  for (const bad of ['', '10.0.0.1', '10.0.0.1:99999', 'fd00::1:80', '[10.0.0:80', 'name:80']) {
    assert.throws(() => readSocketAddress(bad), RangeError, bad);
  }
  assert.throws(() => decodeSockaddr(new Uint8Array(28)), RangeError);
  assert.throws(() => encodeSockaddr({ address: 'name', port: 1 }), RangeError);
  assert.throws(() => encodeUnixSockaddr('x'.repeat(108)), /longer than 107 bytes/);
});
