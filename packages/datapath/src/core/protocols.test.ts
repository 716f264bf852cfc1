import assert from 'node:assert/strict';
import { test } from 'node:test';
import { protocolNumber, protocolText } from './protocols.ts';

test('the number of a protocol is read from its text', () => {
  for (let number = 0; number < 256; number++) {
    assert.equal(protocolNumber(protocolText(number)), number);
  }
  assert.deepEqual([protocolText(17), protocolText(89)], ['UDP', 'protocol 89']);
  assert.deepEqual(['udp', 'protocol', 'protocol x'].map(protocolNumber), Array(3).fill(undefined));
});
