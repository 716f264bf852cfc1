import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EventParser, readEvents, type ServerEvent } from './sse.ts';

const lineText = fc.string({ unit: 'grapheme' }).map((text) => text.replace(/[\r\n]/g, ''));
const event: fc.Arbitrary<ServerEvent> = fc.record(
  {
    name: lineText.filter((name) => name !== ''),
    data: fc.array(lineText, { minLength: 1 }).map((lines) => lines.join('\n')),
  },
  { noNullPrototype: true },
);
const lineEnd = fc.constantFrom('\n', '\r', '\r\n');

/** Returns events as a stream. */
function streamOf(events: readonly ServerEvent[], end: string): string {
  const lines = events.flatMap(({ name, data }, index) => [
    `id: ${index}`,
    `event: ${name}`,
    ': a comment',
    ...data.split('\n').map((line) => `data: ${line}`),
    '',
  ]);
  return lines.map((line) => line + end).join('');
}

/** Cuts a list at the given places. */
function cut<List extends string | Uint8Array<ArrayBuffer>>(
  list: List,
  places: readonly number[],
): List[] {
  const borders = places.map((place) => place % (list.length + 1)).sort((a, b) => a - b);
  return [0, ...borders].map(
    (border, index) => list.slice(border, borders[index] ?? list.length) as List,
  );
}

const places = fc.array(fc.nat(10_000));

test('events come back from a stream with any line ends, whatever the borders of its pieces', () => {
  fc.assert(
    fc.property(fc.array(event), lineEnd, places, (events, end, borders) => {
      const parser = new EventParser();
      const text = streamOf(events, end);
      assert.deepEqual(
        cut(text, borders).flatMap((piece) => parser.push(piece)),
        events,
      );
    }),
  );
});

test('events come back from bytes, whatever the borders within letters', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event), places, async (events, borders) => {
      const bytes = new TextEncoder().encode(streamOf(events, '\n'));
      const pieces = cut(bytes, borders);
      const received: ServerEvent[] = [];
      const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
        start(controller) {
          for (const piece of pieces) controller.enqueue(piece);
          controller.close();
        },
      });
      await readEvents(stream, (each) => received.push(each));
      assert.deepEqual(
        received,
        events.map(({ name, data }) => ({ name: name.toWellFormed(), data: data.toWellFormed() })),
      );
    }),
  );
});

test('any text gives the same events, whatever the borders of its pieces', () => {
  const letters = fc.constantFrom('\n', '\r', ':', ' ', 'data', 'event', 'x', '\ufeff');
  const text = fc.array(letters).map((parts) => parts.join(''));
  fc.assert(
    fc.property(text, places, (given, borders) => {
      const parser = new EventParser();
      const pieces = cut(given, borders).flatMap((piece) => parser.push(piece));
      assert.deepEqual(pieces, new EventParser().push(given));
    }),
  );
});

test('the fields are read as the standard says', () => {
  const events = (text: string) => new EventParser().push(text);
  assert.deepEqual(events('data: a\n\n'), [{ name: 'message', data: 'a' }]);
  assert.deepEqual(events('data:a\ndata\ndata:  b\n\n'), [{ name: 'message', data: 'a\n\n b' }]);
  assert.deepEqual(events('event: only a name\n\ndata: x\n\n'), [{ name: 'message', data: 'x' }]);
  assert.deepEqual(events(': comment\nunknown: 1\nretry: 5\n\n'), []);
  assert.deepEqual(events('data: an event that the stream does not complete\n'), []);
});

test('a stream without an end of its event is refused', () => {
  const parser = new EventParser();
  const piece = 'x'.repeat(1 << 24);
  assert.throws(() => {
    for (let count = 0; count < 6; count++) parser.push(piece);
  }, /an event has more than 67108864 characters/);
});
