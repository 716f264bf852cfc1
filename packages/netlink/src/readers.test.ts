import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readLinkAddress } from './addresses.ts';
import { MalformedMessage } from './errors.ts';
import { readLink } from './links.ts';
import { readNeighbour } from './neighbours.ts';
import { readRoute } from './routes.ts';
import { readInetSocket } from './socket-diag.ts';
import { type Message, MessageWriter, readMessages } from './wire.ts';

function messageOf(body: Uint8Array): Message {
  return { type: 0, flags: 0, sequence: 0, port: 0, body };
}

const readers = {
  link: readLink,
  address: readLinkAddress,
  route: readRoute,
  neighbour: readNeighbour,
  socket: (message: Message) => readInetSocket(message, 'udp'),
};

for (const [name, read] of Object.entries(readers)) {
  test(`no bytes bring the reader of a ${name} down`, () => {
    const family = fc.constantFrom(0, 2, 10, 17, 255);
    const attribute = fc.record({
      type: fc.integer({ min: 0, max: 60 }),
      payload: fc.uint8Array({ maxLength: 40 }),
    });
    fc.assert(
      fc.property(
        family,
        fc.uint8Array({ maxLength: 90 }),
        fc.array(attribute, { maxLength: 8 }),
        (first, header, attributes) => {
          if (header.length > 0) header[0] = first;
          const writer = new MessageWriter(0).header(header);
          for (const { type, payload } of attributes) writer.bytes(type, payload);
          try {
            read(messageOf(readMessages(writer.finish(1))[0]!.body));
          } catch (error) {
            assert.ok(error instanceof MalformedMessage, String(error));
          }
        },
      ),
      { numRuns: 500 },
    );
  });
}
