import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MalformedMessage } from './errors.ts';
import { Attributes, MessageWriter, NLM_F_ACK, NLM_F_REQUEST, readMessages } from './wire.ts';

const runs = { numRuns: 500 };

/** Runs a reader, which may throw only a MalformedMessage. */
function survives(read: () => void): void {
  try {
    read();
  } catch (error) {
    assert.ok(error instanceof MalformedMessage, String(error));
  }
}

test('a message has its header, the family header and the attributes', () => {
  const bytes = new MessageWriter(16, 0x400)
    .header(Uint8Array.of(1, 2, 3, 4))
    .text(3, 'eth0')
    .u8(5, 255)
    .u16(6, 0x1234)
    .u32(4, 1500)
    .finish(77, NLM_F_ACK);
  const [message, ...more] = readMessages(bytes);
  assert.equal(more.length, 0);
  assert.ok(message);
  const { type, flags, sequence, port, body } = message;
  assert.deepEqual(
    { type, flags, sequence, port },
    { type: 16, flags: NLM_F_REQUEST | NLM_F_ACK | 0x400, sequence: 77, port: 0 },
  );
  assert.deepEqual([...body.subarray(0, 4)], [1, 2, 3, 4]);
  const attributes = Attributes.read(body.subarray(4));
  assert.deepEqual(attributes.types(), [3, 5, 6, 4]);
  assert.equal(attributes.text(3), 'eth0');
  assert.equal(attributes.u8(5), 255);
  assert.equal(attributes.u16(6), 0x1234);
  assert.equal(attributes.u32(4), 1500);
  assert.equal(attributes.u32(99), undefined);
});

test('nested attributes of any depth are read back', () => {
  const bytes = new MessageWriter(16)
    .nested(18, (outer) => {
      outer.text(1, 'veth').nested(2, (inner) => inner.u32(1, 7));
    })
    .finish(1);
  const attributes = Attributes.read(readMessages(bytes)[0]!.body);
  assert.equal(attributes.nested(18)?.text(1), 'veth');
  assert.equal(attributes.nested(18)?.nested(2)?.s32(1), 7);
});

test('any attributes are read back as they were written', () => {
  const attribute = fc.record({
    type: fc.integer({ min: 1, max: 0x3fff }),
    payload: fc.uint8Array({ maxLength: 600 }),
  });
  const some = fc.uniqueArray(attribute, { maxLength: 20, selector: (each) => each.type });
  fc.assert(
    fc.property(some, fc.integer({ min: 1, max: 0xffffffff }), (list, sequence) => {
      const writer = new MessageWriter(24);
      for (const { type, payload } of list) writer.bytes(type, payload);
      const bytes = writer.finish(sequence);
      assert.equal(bytes.length % 4, 0);
      const [message] = readMessages(bytes);
      assert.equal(message!.sequence, sequence);
      const attributes = Attributes.read(message!.body);
      assert.equal(attributes.types().length, list.length);
      for (const { type, payload } of list) {
        assert.deepEqual([...attributes.bytes(type)!], [...payload]);
      }
    }),
    runs,
  );
});

test('a datagram is split into messages by their lengths', () => {
  const first = new MessageWriter(1).u8(1, 9).finish(1);
  const second = new MessageWriter(2).finish(2);
  const datagram = new Uint8Array(first.length + second.length);
  datagram.set(first);
  datagram.set(second, first.length);
  assert.deepEqual(
    readMessages(datagram).map(({ type, sequence }) => [type, sequence]),
    [
      [1, 1],
      [2, 2],
    ],
  );
});

test('a length that is too small or too large is a MalformedMessage', () => {
  const message = new MessageWriter(1).u32(1, 9).finish(1);
  for (const length of [0, 15, message.length + 1, 0xffffffff]) {
    const bad = message.slice();
    new DataView(bad.buffer).setUint32(0, length, true);
    assert.throws(() => readMessages(bad), MalformedMessage, `message length ${length}`);
  }
  for (const length of [0, 3, 9, 0xffff]) {
    const bad = message.slice(16);
    new DataView(bad.buffer).setUint16(0, length, true);
    assert.throws(() => Attributes.read(bad), MalformedMessage, `attribute length ${length}`);
  }
  assert.throws(() => readMessages(message.subarray(0, 10)), MalformedMessage);
  const short = Attributes.read(new MessageWriter(1).u8(1, 9).finish(1).subarray(16));
  assert.throws(() => short.u32(1), MalformedMessage);
});

test('a payload beyond the limit of the length field is refused', () => {
  assert.throws(() => new MessageWriter(1).bytes(1, new Uint8Array(65532)), RangeError);
  assert.equal(new MessageWriter(1).bytes(1, new Uint8Array(65531)).finish(1).length, 16 + 65536);
  const filled = () =>
    new MessageWriter(1).nested(1, (writer) => writer.bytes(1, new Uint8Array(65531)));
  assert.throws(filled, RangeError);
});

test('any bytes give a value or a MalformedMessage', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      survives(() => readMessages(bytes));
      survives(() => {
        const attributes = Attributes.read(bytes);
        for (const type of attributes.types()) survives(() => attributes.nested(type));
        for (const type of attributes.types()) survives(() => attributes.u32(type));
        for (const type of attributes.types()) survives(() => attributes.text(type));
      });
    }),
    { numRuns: 2000 },
  );
});

test('any damage to a valid datagram gives a value or a MalformedMessage', () => {
  const good = new MessageWriter(16)
    .header(new Uint8Array(16))
    .text(3, 'eth0')
    .nested(18, (writer) => writer.text(1, 'veth').u32(2, 5))
    .finish(1);
  const damage = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 4 });
  fc.assert(
    fc.property(damage, fc.nat(good.length), (changes, length) => {
      const bytes = good.slice(0, length);
      for (const [at, value] of changes) if (at < length) bytes[at] = value;
      survives(() => {
        for (const { body } of readMessages(bytes)) Attributes.read(body.subarray(16)).nested(18);
      });
    }),
    runs,
  );
});
