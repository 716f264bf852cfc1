import assert from 'node:assert/strict';
import { Packet } from './packet.ts';

/**
 * Asserts that the bytes are those of the expected packet; the message describes both. The bytes
 * start like the expected packet, with a frame or with an IP header.
 */
export function assertPacket(actual: Uint8Array, expected: Packet, message = ''): void {
  const found = expected.layers[0]?.kind === 'eth' ? Packet.parse(actual) : Packet.parseIp(actual);
  const what = message && `${message}:\n`;
  // The descriptions are compared first, so that the runner shows the lines that differ.
  if (`${found}` !== `${expected}`) {
    assert.equal(`${what}${found}`, `${what}${expected}`);
  }
  const wanted = expected.bytes;
  const at = wanted.findIndex((byte, i) => byte !== actual[i]);
  if (at >= 0 || wanted.length !== actual.length) {
    const where = at >= 0 ? `byte ${at} is ${actual[at]}, not ${wanted[at]}` : 'lengths differ';
    assert.fail(`${what}${found}\nreads as expected, but ${where}`);
  }
}
