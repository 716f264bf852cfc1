import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type Connection, retryDelay, Stream } from './stream.ts';

const bye = (code: string) =>
  `event: bye\ndata: ${JSON.stringify({ error: { code, text: 'Because.' } })}\n\n`;
const eventStream = { headers: { 'content-type': 'text/event-stream; charset=utf-8' } };

/** Opens a stream whose requests get the given answer, and returns what it reports first: a denial or a silence. */
async function firstEnd(t: TestContext, answer: () => Response) {
  const signals: AbortSignal[] = [];
  t.mock.method(globalThis, 'fetch', async (_: string, { signal }: { signal: AbortSignal }) => {
    signals.push(signal);
    return answer();
  });
  const received: string[] = [];
  const receive = (name: string) => () => received.push(name);
  const end = Promise.withResolvers<string>();
  const stream = new Stream({
    events: {
      hello: receive('hello'),
      counts: receive('counts'),
      map: receive('map'),
      flows: receive('flows'),
      events: receive('events'),
      bye: receive('bye'),
    },
    connection: ({ kind }: Connection) => {
      if (kind === 'silent') end.resolve('silent');
    },
    denied: (text, token) => end.resolve(`denied ${token}: ${text}`),
  });
  t.after(() => stream.close());
  stream.open({ view: 'none' });
  return { end: await end.promise, received, signals };
}

test('the page tries again after 1, 2, 4 seconds and then every 8', () => {
  assert.deepEqual([0, 1, 2, 3, 4, 50].map(retryDelay), [1000, 2000, 4000, 8000, 8000, 8000]);
});

test('a stream that ends is tried again', async (t) => {
  const text = `event: counts\ndata: {}\n\nevent: later\ndata: no JSON\n\n${bye('unavailable')}`;
  const { end, received, signals } = await firstEnd(t, () => new Response(text, eventStream));
  assert.equal(end, 'silent');
  assert.deepEqual(received, ['counts', 'bye']);
  assert.equal(signals[0]!.aborted, true);
});

test('a relay that takes the rights away leads to the login', async (t) => {
  const text = `${bye('forbidden')}event: counts\ndata: {}\n\n`;
  const { end, received, signals } = await firstEnd(t, () => new Response(text, eventStream));
  assert.equal(end, 'denied undefined: Because.');
  assert.deepEqual(received, ['bye']);
  assert.equal(signals[0]!.aborted, true);
});

test('a relay that asks for a token leads to the login, and one that refuses otherwise does not', async (t) => {
  const error = { error: { code: 'forbidden', text: 'The relay asks for a token.' } };
  const asked = await firstEnd(t, () => Response.json(error, { status: 401 }));
  assert.equal(asked.end, 'denied undefined: The relay asks for a token.');
  const refused = await firstEnd(t, () => Response.json(error, { status: 403 }));
  assert.equal(refused.end, 'silent');
});

test('an answer of another type is no stream', async (t) => {
  const page = { headers: { 'content-type': 'text/html' } };
  assert.equal((await firstEnd(t, () => new Response(bye('forbidden'), page))).end, 'silent');
});
