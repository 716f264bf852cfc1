import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  decodeIcmp,
  decodeSctp,
  encodeEcho,
  encodeSctp,
  sctpAbort,
  sctpInit,
  sctpInitAck,
} from './probe-messages.ts';

test('a message of SCTP is read as it was written', () => {
  for (const [chunk, initiateTag, cookie] of [
    [sctpInit, 7, ''],
    [sctpInitAck, 0xfffffffe, 'tenant-a/web'],
    [sctpAbort, 0, ''],
  ] as const) {
    const message = {
      sport: 20_001,
      dport: 80,
      verificationTag: 0xdeadbeef,
      chunk,
      initiateTag,
      cookie,
    };
    assert.deepEqual(decodeSctp(encodeSctp(message)), message);
  }
  assert.equal(decodeSctp(new Uint8Array(12)), undefined);
});

test('an ICMP error names the packet that it is about', () => {
  const udp = [0x10, 0, 0, 53, 0, 8, 0, 0];
  const ipv4 = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 244, 1, 2, 10, 244, 2, 3];
  assert.deepEqual(decodeIcmp(4, Uint8Array.from([3, 13, 0, 0, 0, 0, 0, 0, ...ipv4, ...udp])), {
    ...{ kind: 'error', text: 'ICMP error 3/13' },
    ...{ protocol: 17, destination: '10.244.2.3', port: 53 },
  });
  const address = (last: number) => [0xfd, ...Array(14).fill(0), last];
  const ipv6 = [0x60, 0, 0, 0, 0, 8, 17, 64, ...address(1), ...address(2)];
  assert.deepEqual(decodeIcmp(6, Uint8Array.from([1, 1, 0, 0, 0, 0, 0, 0, ...ipv6, ...udp])), {
    ...{ kind: 'error', text: 'ICMP error 1/1' },
    ...{ protocol: 17, destination: 'fd00::2', port: 53 },
  });
  // A request is not an answer.
  assert.equal(decodeIcmp(4, encodeEcho(4, 1, 2)), undefined);
});
