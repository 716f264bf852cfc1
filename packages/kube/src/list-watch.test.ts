import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VirtualTime } from '@heddle/state/testing/virtual-time';
import { encodeUtf8 } from '@heddle/sys';
import fc from 'fast-check';
import {
  bookmark,
  errorEvent,
  event,
  FakeClient,
  type FakeRequest,
  listOf,
} from '../testing/fake-client.ts';
import { ListWatch, type WatchState } from './list-watch.ts';
import type { ResourceChange } from './listing.ts';

/** A client of a list-watch and its recorded changes and states. */
class Follower implements Disposable {
  readonly time = new VirtualTime();
  readonly client = new FakeClient();
  readonly calls: string[][] = [];
  readonly states: WatchState[] = [];
  readonly view = new Map<string, string>();
  /** The number of objects that were read. */
  reads = 0;
  readonly listWatch: ListWatch<string>;

  constructor(options: { readonly mayBeMissing?: boolean } = {}) {
    this.listWatch = new ListWatch<string>({
      ...options,
      platform: this.time,
      client: this.client,
      resource: {
        path: '/apis/example/v1/things',
        labelSelector: '!hidden,tier in (a,b)',
        fields: { kind: true, text: true },
        read: (object) => {
          this.reads++;
          const { kind, text, ...more } = object as { kind: string; text: string };
          assert.equal(kind, 'Thing');
          assert.ok(!('managedFields' in (more as { metadata: object }).metadata));
          return text;
        },
      },
      onChanges: (changes) => this.#record(changes),
      onState: (state) => this.states.push(state),
    });
    this.time.pass(0);
  }

  /** Returns a follower whose server has no streaming lists, with its first list request open. */
  static ofOldServer(): Follower {
    const follower = new Follower();
    follower.client.request.refuse(422);
    return follower;
  }

  /** Returns a follower that watches from version 10 on, knowing `a` (5) and `n/b` (6). */
  static watching(): Follower {
    const follower = new Follower();
    follower.request.send(
      event('ADDED', 'a', 5, 'A'),
      event('ADDED', 'n/b', 6, 'B'),
      bookmark(10, true),
    );
    follower.calls.length = 0;
    follower.reads = 0;
    return follower;
  }

  get request() {
    return this.client.request;
  }

  get state() {
    return this.listWatch.state;
  }

  /** Lets time pass until the next try; gives how many milliseconds that took. */
  untilRequest(): number {
    const before = this.client.requests.length;
    const ms = this.state.retryAtMs! - this.time.wallTimeMs();
    this.time.pass(ms - 1);
    assert.equal(this.client.requests.length, before, 'it came too early');
    this.time.pass(1);
    assert.equal(this.client.requests.length, before + 1, 'it did not come');
    return ms;
  }

  [Symbol.dispose](): void {
    this.listWatch[Symbol.dispose]();
    assert.ok(this.client.isIdle);
    assert.equal(this.time.timersLeft, 0);
  }

  #record(changes: readonly ResourceChange<string>[]): void {
    this.calls.push(
      changes.map((change) => {
        const { op, key } = change;
        if (op === 'set') {
          this.view.set(key, change.value);
          return `${key}=${change.value}`;
        }
        assert.ok(this.view.delete(key), `${key} was not there`);
        assert.equal(key, change.namespace ? `${change.namespace}/${change.name}` : change.name);
        return `-${key}`;
      }),
    );
  }
}

test('a streaming list is reported in one call, then events', () => {
  using follower = new Follower();
  const { request } = follower;
  assert.equal(request.path, '/apis/example/v1/things');
  const { timeoutSeconds, ...query } = request.query;
  assert.deepEqual(query, {
    labelSelector: '!hidden,tier in (a,b)',
    watch: 'true',
    sendInitialEvents: 'true',
    resourceVersionMatch: 'NotOlderThan',
    allowWatchBookmarks: 'true',
  });
  assert.ok(Number(timeoutSeconds) >= 300 && Number(timeoutSeconds) <= 600);
  request.send(event('ADDED', 'n/a', 5, 'A'), event('ADDED', 'n/b', 3, 'B'), bookmark(4));
  assert.deepEqual(follower.calls, []);
  assert.equal(follower.state.phase, 'listing');
  request.send(bookmark(9, true));
  assert.deepEqual(follower.calls, [['n/a=A', 'n/b=B']]);
  assert.equal(follower.state.phase, 'watching');
  request.send(event('MODIFIED', 'n/a', 10, 'AA') + event('DELETED', 'n/b', 11));
  request.send(event('ADDED', 'c', 12, 'C'));
  assert.deepEqual(follower.calls.slice(1), [['n/a=AA', '-n/b'], ['c=C']]);
  assert.equal(follower.state.resourceVersion, '12');
});

test('objects that are deleted during a streaming list are not reported', () => {
  using follower = new Follower();
  follower.request.send(event('ADDED', 'a', 5), event('ADDED', 'b', 6), event('DELETED', 'a', 7));
  follower.request.send(event('MODIFIED', 'b', 8, 'new'), bookmark(9, true));
  assert.deepEqual(follower.calls, [['b=new']]);
});

test('an empty list is reported', () => {
  using streamed = new Follower();
  streamed.request.send(bookmark(9, true));
  assert.deepEqual(streamed.calls, [[]]);
  using listed = Follower.ofOldServer();
  listed.request.send(listOf(9, [])).end();
  assert.deepEqual(listed.calls, [[]]);
});

test('a server without streaming lists gets requests of pages from then on', () => {
  using follower = Follower.ofOldServer();
  const first: object = follower.request.query;
  assert.deepEqual(first, {
    labelSelector: '!hidden,tier in (a,b)',
    limit: '500',
    resourceVersion: '0',
  });
  follower.request.send(listOf(20, [{ name: 'a', version: 5, text: 'A' }], 'next page')).end();
  assert.deepEqual(follower.calls, []);
  const { limit, continue: token, ...more } = follower.request.query;
  assert.deepEqual([limit, token, more.resourceVersion], ['500', 'next page', undefined]);
  follower.request.send(listOf(20, [{ name: 'b', version: 7, text: 'B' }])).end();
  assert.deepEqual(follower.calls, [['a=A', 'b=B']]);
  assert.equal(follower.request.kind, 'watch');
  assert.equal(follower.request.query.resourceVersion, '20');
  follower.request.send(errorEvent(410));
  follower.untilRequest();
  assert.equal(follower.request.kind, 'list');
  assert.equal(follower.request.query.resourceVersionMatch, 'NotOlderThan');
  assert.equal(follower.request.query.resourceVersion, '20');
  follower.client.server = 'https://another.example:6443';
  follower.request.cut();
  follower.untilRequest();
  assert.equal(follower.request.kind, 'stream', 'another server may have them');
});

test('410 leads to a new list: one call with the differences, without reading known objects', () => {
  const newList = (follower: Follower, phase = 'listing') => {
    assert.equal(follower.state.phase, phase);
    assert.deepEqual(follower.calls, []);
    assert.ok(follower.untilRequest() <= 100);
    if (follower.request.kind === 'list') {
      const items = [
        { name: 'a', version: 5, text: 'A' },
        { name: 'c', version: 12, text: 'C' },
      ];
      follower.request.send(listOf(20, items)).end();
    } else {
      follower.request.send(event('ADDED', 'a', 5, 'A'), event('ADDED', 'c', 12, 'C'));
      assert.deepEqual(follower.calls, []);
      follower.request.send(bookmark(20, true) + event('ADDED', 'd', 21, 'D'));
    }
  };
  using inStream = Follower.watching();
  inStream.request.send(errorEvent(410));
  newList(inStream);
  assert.deepEqual(inStream.calls, [['-n/b', 'c=C', 'd=D']]);
  assert.equal(inStream.reads, 2);

  using asStatus = Follower.watching();
  asStatus.request.cut();
  asStatus.request.refuse(410);
  newList(asStatus);
  assert.deepEqual(asStatus.calls, [['-n/b', 'c=C', 'd=D']]);

  using paged = Follower.watching();
  paged.request.send(errorEvent(410));
  paged.untilRequest();
  paged.request.refuse(422);
  paged.request.refuse(500);
  newList(paged, 'waiting');
  assert.deepEqual(paged.calls, [['-n/b', 'c=C']]);
  assert.equal(paged.reads, 1);
});

test('a new list without differences is not reported', () => {
  using follower = Follower.watching();
  follower.request.send(errorEvent(410));
  follower.untilRequest();
  follower.request.send(event('ADDED', 'n/b', 6), event('ADDED', 'a', 5), bookmark(20, true));
  assert.deepEqual(follower.calls, []);
  assert.equal(follower.state.resourceVersion, '20');
});

test('a watch that had changes resumes at once', () => {
  using follower = Follower.watching();
  follower.request.end();
  assert.equal(follower.request.query.resourceVersion, '10', 'the list was something');
  follower.request.send(bookmark(15)).end();
  assert.equal(follower.request.query.resourceVersion, '15');
  follower.request.send(event('ADDED', 'c', 16), event('ADDED', 'd', 17).slice(0, 20)).cut();
  assert.equal(follower.request.query.resourceVersion, '16');
  assert.equal(follower.request.kind, 'watch');
  assert.equal(follower.state.phase, 'watching');
  assert.equal(follower.states.length, 1, 'no other state was reported');
  follower.request.head().end();
  assert.equal(follower.state.phase, 'waiting');
  const waits = Array.from({ length: 12 }, () => {
    const ms = follower.untilRequest();
    follower.request.head().end();
    return ms;
  });
  assert.deepEqual(waits.slice(0, 4), [100, 200, 400, 800]);
  assert.deepEqual(waits.slice(9), [30_000, 30_000, 30_000]);
});

test('a long watch without changes resumes at once', () => {
  using follower = Follower.watching();
  follower.request.end();
  follower.request.head();
  for (let i = 0; i < 5; i++) {
    follower.time.pass(60_000);
    follower.request.send(bookmark(10));
  }
  follower.request.end();
  assert.equal(follower.state.phase, 'watching');
  assert.equal(follower.request.query.resourceVersion, '10');
});

test('ListWatch waits for Retry-After', () => {
  using follower = Follower.watching();
  follower.request.end();
  follower.request.refuse(429, 7000);
  assert.deepEqual(follower.state.error, 'get: the server says 429');
  assert.equal(follower.state.retryAtMs, follower.time.wallTimeMs() + 7000);
  assert.equal(follower.untilRequest(), 7000);
  assert.equal(follower.request.kind, 'watch', 'nothing is lost');
  follower.request.send(errorEvent(503, { details: { retryAfterSeconds: 2 } }));
  assert.equal(follower.untilRequest(), 2000);
  assert.equal(follower.request.kind, 'watch');
  follower.request.refuse(503, 86_400_000);
  assert.equal(follower.untilRequest(), 300_000, 'a day is too long');
});

test('delays grow during a storm of 429', () => {
  using follower = new Follower();
  for (let i = 0; i < 1000 && follower.time.wallTimeMs() < 1_000_000 + 600_000; i++) {
    follower.request.refuse(429, 1000);
    follower.untilRequest();
  }
  assert.ok(follower.client.requests.length < 35, `${follower.client.requests.length} requests`);
});

test('malformed events lead to an error and a new list', () => {
  const lines: readonly (readonly [string, RegExp])[] = [
    ['{"type":"ADDED","object":{"metadata":\n', /^read JSON: unexpected end at byte 37$/],
    ['<html>\n', /^read JSON: unexpected </],
    ['[]\n', /^read watch event: it is of no known type$/],
    ['{"type":"ADDED","object":null}\n', /^read object: it has no name$/],
    ['{"type":"ADDED","object":{"metadata":{"name":"x"}}}\n', /^read object x: it has no res/],
    ['{"type":"BOOKMARK","object":{"metadata":{}}}\n', /^read bookmark: it has no resourceVersion/],
    [errorEvent(500), /^watch: it is 500$/],
    [`{"a":${'['.repeat(300)}\n`, /^read JSON: nested deeper than 256 at byte 260$/],
  ];
  for (const [line, message] of lines) {
    using follower = Follower.watching();
    follower.request.send(event('ADDED', 'c', 11, 'C') + line + event('DELETED', 'a', 12));
    assert.match(follower.state.error!, message);
    assert.deepEqual(follower.calls, [['c=C']], 'what came before is good, what comes after not');
    assert.ok(follower.client.isIdle);
    follower.untilRequest();
    assert.equal(follower.request.kind, 'stream');
  }
  using gigantic = Follower.watching();
  const megabyte = new Uint8Array(1 << 20).fill(0x20);
  for (let i = 0; i < 16; i++) gigantic.request.send(megabyte);
  assert.equal(gigantic.state.error, undefined);
  gigantic.request.send(' ');
  assert.equal(gigantic.state.error, 'read watch event: longer than 16777216 bytes');
  using truncated = Follower.watching();
  truncated.request.send(event('ADDED', 'c', 11).slice(0, -1)).end();
  assert.match(truncated.state.error!, /within a line$/);
  truncated.untilRequest();
  assert.equal(truncated.request.kind, 'stream');
});

test('malformed lists lead to an error and a new list', () => {
  const whole = listOf(20, [{ name: 'a', version: 5 }]);
  const lists: readonly (readonly [string, RegExp])[] = [
    [whole.slice(0, -20), /^read list: the response ends within the items$/],
    [whole.slice(0, -1), /^read JSON: unexpected end/],
    [`${whole}}`, /^read JSON: unexpected }/],
    ['{}', /^read list: it has no resourceVersion$/],
    ['[]', /^read list: it has no resourceVersion$/],
    [whole.replace('"20"', '20'), /^read list: it has no resourceVersion$/],
    [whole.replace('ThingList', 'Thing'), /^read list: it has no kind/],
    [whole.replace('"5"', '5'), /^read object a: it has no resourceVersion$/],
    [whole.replace('"name":"a"', '"name":tru'), /^read JSON: unexpected/],
    [whole.replace('[{', '[1,{'), /^read list: unexpected byte 0x31 among its items$/],
  ];
  for (const [text, message] of lists) {
    using follower = Follower.ofOldServer();
    follower.request.send(text).end();
    assert.match(follower.state.error!, message);
    assert.deepEqual(follower.calls, []);
    follower.untilRequest();
    follower.request.send(whole).end();
    assert.deepEqual(follower.calls, [['a=']]);
  }
});

test('delays grow with repeated malformed responses', () => {
  using follower = Follower.watching();
  let lists = 0;
  while (follower.time.wallTimeMs() < 1_000_000 + 600_000) {
    follower.request.send('garbage\n');
    follower.untilRequest();
    lists++;
    follower.request.send(event('ADDED', `x${lists}`, 100 + lists), bookmark(100 + lists, true));
  }
  assert.ok(lists < 40, `${lists} lists in ten minutes`);
  follower.time.pass(31_000);
  follower.request.send('garbage\n');
  assert.ok(follower.untilRequest() <= 100, 'a watch that stood makes up for it');
});

test('delays grow with any repeated failure', () => {
  type Failure = (request: FakeRequest) => void;
  const failure = fc.constantFrom<Failure>(
    (request) => request.cut(),
    (request) => request.end(),
    (request) => request.head().end(),
    (request) => request.head().cut(),
    (request) => request.send('garbage\n'),
    (request) => request.send(errorEvent(410)),
    (request) => request.send(errorEvent(500)),
    (request) => request.send(errorEvent(429)),
    (request) => request.send(bookmark(10)).end(),
    (request) => request.send(event('ADDED', 'a', 5)).end(),
    ...[400, 401, 403, 404, 410, 422, 429, 500, 503].map(
      (status): Failure =>
        (request) =>
          request.refuse(status),
    ),
  );
  const failures = fc.array(failure, { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(fc.boolean(), failures, (hasList, failures) => {
      using follower = hasList ? Follower.watching() : new Follower();
      if (hasList) follower.request.end();
      const endMs = follower.time.wallTimeMs() + 600_000;
      for (let i = 0; follower.time.wallTimeMs() < endMs; i++) {
        assert.ok(i < 100, `${i} requests in less than ten minutes`);
        const { request } = follower;
        failures[i % failures.length]!(request);
        request.end();
        if (follower.client.isIdle) follower.untilRequest();
      }
      assert.equal(follower.calls.length, 0);
    }),
  );
});

test('a page that breaks off is requested again, an expired one leads to a list in one piece', () => {
  using follower = Follower.ofOldServer();
  follower.request.send(listOf(20, [{ name: 'a', version: 5, text: 'A' }], 'two')).end();
  const page = listOf(20, [
    { name: 'b', version: 6, text: 'B' },
    { name: 'c', version: 7, text: 'C' },
  ]);
  for (const at of [5, page.indexOf('"c"')]) {
    follower.request.send(page.slice(0, at)).cut();
    follower.untilRequest();
    assert.equal(follower.request.query.continue, 'two');
  }
  follower.request.refuse(429, 1000);
  assert.equal(follower.untilRequest(), 1000);
  follower.request.send(page).end();
  assert.deepEqual(follower.calls, [['a=A', 'b=B', 'c=C']]);

  using slow = Follower.ofOldServer();
  slow.request.send(listOf(20, [{ name: 'gone', version: 5 }], 'two')).end();
  slow.request.refuse(410);
  slow.untilRequest();
  assert.deepEqual(
    [slow.request.query.continue, slow.request.query.limit, slow.request.query.resourceVersion],
    [undefined, undefined, '0'],
  );
  slow.request.send(listOf(30, [{ name: 'a', version: 25, text: 'A' }])).end();
  assert.deepEqual(slow.calls, [['a=A']]);
});

test('a connection that is cut within an event loses no change and repeats none', () => {
  const body = event('MODIFIED', 'a', 11, 'Ä"') + event('ADDED', 'c', 12, 'C') + bookmark(13);
  const bytes = encodeUtf8(body);
  const ends = [...bytes.keys()].filter((i) => bytes[i] === 0x0a);
  for (let cut = 0; cut <= bytes.length; cut++) {
    using follower = Follower.watching();
    follower.request.send(bytes.slice(0, cut >> 1), bytes.slice(cut >> 1, cut)).cut();
    if (follower.client.isIdle) follower.untilRequest();
    assert.equal(follower.request.kind, 'watch');
    const got = ends.filter((end) => end < cut).length;
    assert.equal(follower.request.query.resourceVersion, String(10 + got), `cut at ${cut}`);
    const rest = got === 0 ? body : bytes.slice(ends[got - 1]! + 1);
    follower.request.send(rest);
    assert.deepEqual(follower.calls.flat(), ['a=Ä"', 'c=C']);
    assert.equal(follower.state.resourceVersion, '13');
  }
});

test('repeated and older events are not reported', () => {
  using follower = Follower.watching();
  follower.request.send(event('MODIFIED', 'a', 5, 'A'), event('ADDED', 'n/b', 6, 'B'));
  follower.request.send(event('MODIFIED', 'a', 12, 'new'), event('MODIFIED', 'a', 11, 'old'));
  follower.request.send(event('DELETED', 'a', 4), event('DELETED', 'unknown', 13));
  follower.request.send(event('DELETED', 'n/b', 14), event('MODIFIED', 'n/b', 7, 'B'));
  assert.deepEqual(follower.calls, [['a=new'], ['-n/b']]);
  follower.request.send(event('ADDED', 'n/b', 15, 'again'), event('DELETED', 'a', 12));
  assert.deepEqual(follower.calls.slice(2), [['n/b=again'], ['-a']]);
  assert.equal(follower.state.resourceVersion, '15');
});

test('versions that are not numbers are always reported', () => {
  using follower = new Follower();
  const odd = (text: string) => event('ADDED', 'a', 0, text).replace('"0"', '"x-1"');
  follower.request.send(odd('1'), bookmark(0, true).replace('"0"', '"x-1"'), odd('2'), odd('3'));
  assert.deepEqual(follower.calls, [['a=1'], ['a=2'], ['a=3']]);
  follower.request.cut();
  assert.equal(follower.request.query.resourceVersion, 'x-1');
});

test('a restored server leads to a list of its newest state', () => {
  using follower = Follower.watching();
  follower.request.end();
  const tooLarge = { message: 'Too large resource version: 10, current: 3' };
  follower.request.send(errorEvent(504, tooLarge));
  follower.untilRequest();
  assert.equal(follower.request.kind, 'stream');
  follower.request.refuse(422);
  assert.equal(follower.request.query.resourceVersion, undefined);
  follower.request.send(listOf(3, [{ name: 'a', version: 2, text: 'before' }])).end();
  assert.deepEqual(follower.calls, [['-n/b', 'a=before']]);
  assert.equal(follower.request.query.resourceVersion, '3');
  follower.request.send(event('MODIFIED', 'a', 4, 'later'));
  assert.equal(follower.view.get('a'), 'later');
});

test('silence ends a list and a watch', () => {
  using follower = new Follower();
  follower.request.send(event('ADDED', 'a', 5, 'A'));
  follower.time.pass(60_001);
  assert.match(follower.state.error!, /^streaming list: nothing came for 30 s/);
  assert.equal(follower.untilRequest(), 99);
  assert.equal(follower.request.kind, 'list', 'it may not know of streaming lists');
  follower.request.send(listOf(20, [{ name: 'a', version: 5 }]).slice(0, 50));
  follower.time.pass(60_001);
  follower.untilRequest();
  follower.request.send(listOf(20, [{ name: 'a', version: 5 }])).end();
  assert.equal(follower.request.kind, 'watch');
  follower.request.head();
  for (let i = 0; i < 100; i++) {
    follower.time.pass(75_000);
    follower.request.send(bookmark(20));
  }
  assert.equal(follower.state.phase, 'watching');
  follower.time.pass(181_000);
  assert.equal(follower.client.requests.at(-1)!.kind, 'watch');
  assert.equal(follower.request.query.resourceVersion, '20');
  assert.equal(follower.calls.length, 1);
});

test('a watch without its usual bookmarks is followed by a new list', () => {
  using follower = Follower.watching();
  follower.request.end();
  follower.request.head();
  follower.time.pass(181_000);
  assert.equal(follower.request.kind, 'watch', 'servers need not have bookmarks');
  follower.request.send(bookmark(10)).end();
  follower.untilRequest();
  follower.request.head();
  follower.time.pass(181_000);
  assert.equal(follower.request.kind, 'stream', 'this one has, so it may have been set back');
  follower.request.send(event('ADDED', 'a', 4, 'before'), bookmark(7, true));
  assert.deepEqual(follower.calls, [['-n/b', 'a=before']]);
  assert.equal(follower.state.resourceVersion, '7');
});

test('in an idle cluster there is one timer every 90 s', () => {
  using follower = Follower.watching();
  let wakeUps = 0;
  const { setTimer } = follower.time;
  follower.time.setTimer = (milliseconds, fire) =>
    setTimer.call(follower.time, milliseconds, () => {
      wakeUps++;
      fire();
    });
  for (let minute = 0; minute < 60; minute++) {
    follower.request.send(bookmark(11 + minute));
    follower.time.pass(60_000);
  }
  assert.ok(wakeUps <= 40, `${wakeUps} in an hour`);
  assert.equal(follower.client.requests.length, 1);
});

test('the state has the time and the message of the error', () => {
  using follower = Follower.watching();
  const { since } = follower.state;
  follower.time.pass(1000);
  follower.request.cut();
  follower.request.cut();
  const troubleSince = follower.state.since;
  assert.ok(troubleSince > since);
  for (let i = 0; i < 20; i++) {
    follower.untilRequest();
    assert.equal(follower.state.phase, 'waiting');
    follower.request.cut();
  }
  assert.equal(follower.state.since, troubleSince);
  assert.match(follower.state.error!, /the connection broke$/);
  assert.ok(follower.state.lastEventMs < troubleSince);
  follower.untilRequest();
  follower.request.head();
  assert.equal(follower.state.phase, 'watching');
  assert.equal(follower.state.error, undefined);
  assert.ok(follower.state.since > troubleSince);
});

test('the first list is reported completely after any failures', () => {
  using follower = new Follower();
  follower.request.cut();
  follower.untilRequest();
  follower.request.refuse(401);
  follower.untilRequest();
  follower.request.send(event('ADDED', 'a', 5)).cut();
  follower.untilRequest();
  assert.equal(follower.request.kind, 'list');
  const list = listOf(6, [{ name: 'd', version: 5 }]);
  follower.request.send(list.slice(0, -20)).cut();
  follower.untilRequest();
  follower.request.refuse(503);
  follower.untilRequest();
  assert.deepEqual(follower.calls, []);
  assert.ok(follower.states.every(({ phase }) => phase !== 'watching'));
  follower.request.send(list).end();
  assert.deepEqual(follower.calls, [['d=']]);
});

type Failure = (request: FakeRequest) => void;
const streamingFailures = new Map<string, Failure>([
  ...[401, 403, 404, 405, 406, 410, 429, 500, 501, 503, 504].flatMap(
    (code): [string, Failure][] => [
      [`status ${code}`, (request) => request.refuse(code)],
      [
        `ERROR event ${code}`,
        (request) => request.send(event('ADDED', 'x', 5), errorEvent(code)).end(),
      ],
    ],
  ),
  ['an answer that ends', (request) => request.send(event('ADDED', 'x', 5)).end()],
  ['a broken connection', (request) => request.send(event('ADDED', 'x', 5)).cut()],
  ['an answer that is no watch', (request) => request.send('<html>').end()],
]);

for (const [name, fail] of streamingFailures) {
  test(`plain lists follow three streaming lists that fail by ${name}`, () => {
    using follower = new Follower();
    const kinds = [follower.request.kind];
    while (follower.request.kind === 'stream') {
      fail(follower.request);
      follower.untilRequest();
      kinds.push(follower.request.kind);
    }
    assert.deepEqual(kinds, ['stream', 'stream', 'stream', 'list']);
    assert.ok(follower.time.wallTimeMs() < 1_001_000, 'within a second');
    follower.request.send(listOf(20, [{ name: 'a', version: 5, text: 'A' }])).end();
    assert.deepEqual(follower.calls, [['a=A']]);
    const relist = () => {
      follower.request.send(bookmark(21), errorEvent(410));
      follower.untilRequest();
      return follower.request.kind;
    };
    assert.equal(relist(), 'list', 'soon after, lists are plain');
    follower.request.send(listOf(20, [{ name: 'a', version: 5, text: 'A' }])).end();
    follower.request.head();
    for (let minute = 0; minute < 6; minute++) {
      follower.time.pass(60_000);
      follower.request.send(bookmark(22));
    }
    assert.equal(relist(), 'stream', 'what streaming lists fail by may pass');
  });
}

test('a streaming list without its end is aborted after a minute, despite changes', () => {
  using follower = new Follower();
  for (let second = 0; follower.request.kind === 'stream'; second += 5) {
    assert.ok(second <= 95, `${second} s`);
    follower.request.send(event('MODIFIED', 'a', 5 + second), bookmark(6 + second));
    follower.time.pass(5000);
    if (follower.client.isIdle) follower.untilRequest();
  }
  assert.match(follower.state.error!, /^streaming list: its end did not come within 60 s$/);
  follower.request.send(listOf(200, [{ name: 'a', version: 5, text: 'A' }])).end();
  assert.deepEqual(follower.calls, [['a=A']]);
});

test('a complete streaming list continues as a watch until the server ends it', () => {
  using follower = Follower.watching();
  for (let i = 0; i < 100; i++) {
    follower.time.pass(10_000);
    follower.request.send(event('MODIFIED', 'a', 11 + i));
  }
  assert.equal(follower.client.requests.length, 1);
});

test('an expired version is an error only when it repeats', () => {
  using follower = Follower.watching();
  follower.request.send(errorEvent(410));
  assert.deepEqual(
    follower.states.map(({ phase, error }) => [phase, error]),
    [
      ['watching', undefined],
      ['listing', 'watch: it is 410'],
    ],
  );
  follower.untilRequest();
  follower.request.send(bookmark(20, true), errorEvent(410));
  assert.equal(follower.state.phase, 'waiting');
});

test('nothing is called after disposal at any point', () => {
  const onChanges = new Follower();
  onChanges.calls.push = () => {
    onChanges[Symbol.dispose]();
    return 0;
  };
  onChanges.request.send(bookmark(6, true) + errorEvent(410));
  assert.deepEqual(onChanges.states, []);
  const onState = new Follower();
  onState.states.push = () => {
    onState[Symbol.dispose]();
    return 0;
  };
  onState.request.cut();
  onState.time.pass(60_000);
  assert.equal(onState.client.requests.length, 1);
});

test('a resource that the server may lack counts as empty, and is asked for again until it is there', () => {
  using follower = new Follower({ mayBeMissing: true });
  follower.request.refuse(404);
  assert.deepEqual(follower.calls, [[]]);
  assert.equal(follower.state.phase, 'watching');
  const before = follower.client.requests.length;
  follower.time.pass(60_000);
  assert.equal(follower.client.requests.length, before + 1);
  follower.request.send(event('ADDED', 'a', 5, 'A'), bookmark(10, true));
  assert.deepEqual(follower.calls.at(-1), ['a=A']);
  // The definition of the resource is removed.
  follower.request.end();
  follower.time.pass(60_000);
  follower.request.refuse(404);
  assert.deepEqual(follower.calls.at(-1), ['-a']);
});
