import { test } from 'node:test';
import { assertLinear } from '@heddle/sys/testing/growth';
import { Attributes, MessageWriter, readMessages } from './wire.ts';

test('the time to read netlink messages and attributes grows with their number', () => {
  assertLinear(
    'messages',
    500,
    (units) => {
      const message = new MessageWriter(16).u32(1, 1).finish(1);
      const bytes = new Uint8Array(units * message.length);
      for (let i = 0; i < units; i++) bytes.set(message, i * message.length);
      return bytes;
    },
    (bytes) => void readMessages(bytes),
  );
  assertLinear(
    'attributes',
    500,
    (units) => {
      const writer = new MessageWriter(16);
      for (let i = 0; i < units; i++) writer.u32(i % 100, i);
      return writer.finish(1).subarray(16);
    },
    (bytes) => void Attributes.read(bytes).u32(1),
  );
});
