import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { get, type IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type {
  ChangesAnswer,
  DropsAnswer,
  Explanation,
  FindAnswer,
  FlowRows,
  Hello,
  MapAnswer,
  NodesAnswer,
  StreamEvents,
  Timeline,
  ValuesAnswer,
  WhyEmpty,
  WorkloadAnswer,
} from '@heddle/web/contract';
import { contentSecurityPolicy } from '@heddle/web/security-policy';
import { clusters } from '@heddle/web/testing/clusters';
import { InventedRelay, type InventedRelayOptions } from '../../testing/invented-relay.ts';
import { TokenAccess } from './access.ts';

const quiet = { flowsPerSecond: 60, beforeMs: 60_000, isLive: false };

async function start(
  t: TestContext,
  options: InventedRelayOptions = quiet,
): Promise<InventedRelay> {
  const relay = await InventedRelay.start(clusters['shop-berlin'](), options);
  t.after(() => relay.close());
  return relay;
}

async function ask<Answer>(relay: InventedRelay, path: string, status = 200): Promise<Answer> {
  const response = await fetch(`${relay.url}api/${path}`);
  const text = await response.text();
  assert.equal(response.status, status, text);
  return JSON.parse(text);
}

function f(filter: string): string {
  return `f=${encodeURIComponent(filter)}`;
}

test('the answers agree with each other about the same traffic', async (t) => {
  const relay = await start(t);
  const hello = await ask<Hello>(relay, 'hello');
  assert.deepEqual([hello.cluster, hello.nodes], ['shop-berlin', { seen: 4, all: 4 }]);

  const map = await ask<MapAnswer>(relay, 'map?level=workload');
  assert.ok(map.workloads.name.length > 40, `${map.workloads.name.length} workloads`);
  assert.equal(map.workloads.kind.length, map.workloads.name.length);
  for (const values of Object.values(map.links)) assert.equal(values.length, map.links.from.length);
  assert.ok(
    map.namespaces.name.some(
      (name, index) => name === 'outside: clients' && map.namespaces.outside[index],
    ),
  );

  const byNamespace = await ask<MapAnswer>(relay, 'map?level=ns&open=payments');
  const total = (answer: MapAnswer) =>
    answer.links.forwarded.reduce((sum, value) => sum + value, 0);
  assert.ok(Math.abs(total(map) - total(byNamespace)) < total(map) * 0.02);
  const names = byNamespace.workloads.name;
  assert.ok(names.includes('ledger') && !names.includes('cart'));

  const drops = await ask<DropsAnswer>(relay, `drops?${f('to:payments/ledger')}`);
  const [kind] = drops.kinds;
  assert.ok(kind, 'no kind of drops');
  assert.deepEqual(
    [kind.from.name, kind.to.name, kind.port, kind.name],
    ['checkout', 'ledger', 8443, 'POLICY_DENIED'],
  );
  assert.ok(kind.packets > 0 && kind.hours.reduce((sum, value) => sum + value) === kind.packets);
  const explanation = await ask<Explanation>(relay, `drops/${kind.id}`);
  assert.match(explanation.trace, /^--from 10\.1\.\d+\.\d+ 10\.1\.\d+\.\d+:8443$/);

  const rows = await ask<FlowRows>(relay, `flows?${f('to:payments/ledger verdict:dropped')}`);
  assert.equal(rows.time.length, kind.packets);
  assert.ok(rows.to.every((index) => rows.names[index] === 'payments/ledger'));

  const page = await ask<WorkloadAnswer>(relay, 'workload/payments/ledger');
  assert.ok(page.callers.some(({ party, dropped }) => party.name === 'checkout' && dropped > 0));
  assert.deepEqual(
    page.pods.map(({ name }) => name.slice(0, 7)),
    ['ledger-', 'ledger-'],
  );
  assert.equal(
    (await ask<WorkloadAnswer>(relay, `pod/payments/${page.pods[0]!.name}`)).pods.length,
    1,
  );

  const timeline = await ask<Timeline>(relay, `timeline?step=10&${f('to:payments/ledger')}`);
  const dropped = timeline.dropped.reduce<number>((sum, value) => sum + (value ?? 0), 0);
  assert.ok(dropped > 0 && timeline.dropped.length === timeline.forwarded.length);

  const found = await ask<FindAnswer>(relay, 'find?q=ledg');
  assert.equal(found.results[0]!.route, '#/workload/payments/ledger');
  const values = await ask<ValuesAnswer>(relay, 'values?key=port&prefix=84');
  assert.ok(values.values.some(({ value }) => value === '8443'));
  const nodes = await ask<NodesAnswer>(relay, 'nodes');
  assert.deepEqual(
    nodes.nodes.map(({ state }) => state),
    Array(4).fill('connected'),
  );
});

test('flows are read page by page to the oldest one that is kept', async (t) => {
  const relay = await start(t);
  const ids = new Set<string>();
  let before: string | undefined;
  do {
    const path = `flows?limit=400${before === undefined ? '' : `&before=${before}`}`;
    const page = await ask<FlowRows>(relay, path);
    for (const id of page.id) ids.add(id);
    before = page.next;
  } while (before !== undefined);
  assert.equal(ids.size, relay.traffic.ring.next);
  const other = await ask<{ error: { code: string } }>(relay, 'flows?before=xyz.12', 400);
  assert.equal(other.error.code, 'range');
});

test('words about single flows narrow the map, too', async (t) => {
  const relay = await start(t);
  const [pod] = (await ask<WorkloadAnswer>(relay, 'workload/payments/ledger')).pods;
  const map = await ask<MapAnswer>(relay, `map?${f(`to:${pod!.addresses[0]}`)}`);
  assert.ok(map.links.to.length > 0);
  assert.ok(map.links.to.every((index) => map.workloads.name[index] === 'ledger'));
});

test('a wrong word, range or name is refused with its place', async (t) => {
  const relay = await start(t);
  const error = async (path: string, status: number) =>
    (await ask<{ error: { code: string; word?: number } }>(relay, path, status)).error;
  const word = await error(`map?${f('ns:shop port:http')}`, 400);
  assert.deepEqual([word.code, word.word], ['filter', 1]);
  assert.equal((await error('map?from=5&to=4', 400)).code, 'range');
  assert.equal((await error('map?from=now', 400)).code, 'range');
  assert.equal((await error('changes?a=1..2', 400)).code, 'range');
  assert.equal((await error('workload/none/none', 404)).code, 'unknown');
  assert.equal((await error('drops/none', 404)).code, 'unknown');
  assert.equal((await error('none', 404)).code, 'unknown');
  const response = await fetch(`${relay.url}api/hello`, { method: 'POST' });
  assert.equal(response.status, 405);
});

test('an empty picture is explained by the word that empties it', async (t) => {
  const relay = await start(t);
  const last = async (filter: string) =>
    (await ask<WhyEmpty>(relay, `why-empty?${f(filter)}`)).checks.at(-1)!;
  const port = await last('ns:shop port:9999');
  assert.deepEqual([port.id, port.isOk, port.remedy?.filter], ['words', false, 'ns:shop']);
  assert.ok(port.values!.includes('8080'));
  const typo = await last('ns:shpo');
  assert.deepEqual([typo.id, typo.remedy?.filter], ['names', 'ns:shop']);
  const kept = await ask<WhyEmpty>(relay, 'why-empty?from=1000&to=2000');
  assert.equal(kept.checks.at(-1)!.id, 'kept');
});

test('links that are new or dropped in the second range are reported as changes', async (t) => {
  const relay = await start(t);
  const { traffic } = relay;
  const now = Date.now();
  const changes = await ask<ChangesAnswer>(
    relay,
    `changes?a=${now - 600_000}..${now - 300_000}&b=${now - 200_000}..${now}`,
  );
  const dropped = changes.links.filter(({ change }) => change === 'dropped');
  assert.ok(dropped.some(({ to, port }) => to.name === 'ledger' && port === 8443));
  assert.equal(
    changes.links.some(({ change }) => change === 'gone'),
    false,
  );
  assert.ok(traffic.links.size > 0);
});

test('export has the flows of the filter, and formulas are no formulas', async (t) => {
  const relay = await start(t);
  const path = `${relay.url}api/export?view=flows&${f('to:payments/ledger verdict:dropped')}`;
  const lines = (await (await fetch(`${path}&format=jsonl`)).text()).trim().split('\n');
  const rows = await ask<FlowRows>(relay, `flows?${f('to:payments/ledger verdict:dropped')}`);
  assert.equal(lines.length, rows.id.length);
  const first = JSON.parse(lines[0]!);
  assert.deepEqual(
    [first.flow.verdict, first.flow.drop_reason_desc, first.flow.destination.namespace],
    ['DROPPED', 'POLICY_DENIED', 'payments'],
  );
  assert.equal(first.flow.l4.TCP.destination_port, 8443);
  const csv = (await (await fetch(`${path}&format=csv`)).text()).trim().split('\n');
  assert.equal(csv.length, lines.length + 1);
  const { csvCell } = await import('./export.ts');
  assert.deepEqual(['=cmd()', '+1', '@x', '-1', 'a,b', -1].map(csvCell), [
    "'=cmd()",
    "'+1",
    "'@x",
    "'-1",
    '"a,b"',
    '-1',
  ]);
});

/** Asks with headers that fetch does not let through. */
function askRaw(url: string, headers: Record<string, string>) {
  return new Promise<{ status: number; headers: IncomingHttpHeaders; body: string }>(
    (resolve, reject) => {
      get(url, { headers }, (response) => {
        let body = '';
        response.on('data', (chunk) => {
          body += chunk;
        });
        response.on('end', () =>
          resolve({ status: response.statusCode!, headers: response.headers, body }),
        );
      }).on('error', reject);
    },
  );
}

test('answers have the headers that keep the page apart, and are sent once', async (t) => {
  const relay = await start(t);
  const url = `${relay.url}some/prefix/api/map`;
  const first = await askRaw(`${url}?to=${Date.now() - 1000}`, {});
  assert.equal(first.headers['content-security-policy'], contentSecurityPolicy);
  assert.equal(first.headers['x-content-type-options'], 'nosniff');
  assert.equal(first.headers['referrer-policy'], 'no-referrer');
  const same = await askRaw(`${relay.url}api/nodes`, {});
  const nodes = await askRaw(`${relay.url}api/nodes`, {
    'if-none-match': String(same.headers.etag),
  });
  assert.equal(nodes.status, 304);
  const compressed = await askRaw(url, { 'accept-encoding': 'gzip' });
  assert.equal(compressed.headers['content-encoding'], 'gzip');
  // Names and origins of other web pages.
  assert.equal((await askRaw(url, { host: 'evil.test' })).status, 403);
  assert.equal((await askRaw(url, { origin: 'http://evil.test' })).status, 403);
  const host = new URL(relay.url).host;
  assert.equal((await askRaw(url, { origin: `http://${host}` })).status, 200);
});

test('with a token file only requests with the token are answered', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-relay-token-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'token');
  writeFileSync(file, 'short');
  assert.throws(() => new TokenAccess(file), /the token has 5 characters/);
  writeFileSync(file, `${'a'.repeat(32)}\n`);
  const relay = await start(t, { ...quiet, access: new TokenAccess(file) });
  const status = async (authorization?: string) => {
    const headers = authorization === undefined ? {} : { authorization };
    return (await fetch(`${relay.url}api/hello`, { headers })).status;
  };
  assert.equal(await status(), 401);
  assert.equal(await status(`Bearer ${'b'.repeat(32)}`), 401);
  assert.equal(await status(`Bearer ${'a'.repeat(32)}`), 200);
  assert.equal((await fetch(`${relay.url}api/hello?token=${'a'.repeat(32)}`)).status, 401);
});

test('a namespace that a reader may not see is in no answer and in no stream', async (t) => {
  const hidden = 'payments';
  const canSee = (namespace: string) => namespace !== hidden;
  const access = { isProtected: true, admit: async () => ({ canSee, namespaces: ['shop'] }) };
  const relay = await start(t, { ...quiet, access });
  const isHidden = ({ namespace }: { readonly namespace: string }) => namespace === hidden;
  const row = [...relay.traffic.links.rows].find((each) => isHidden(each.to) && each.reason > 0)!;
  const paths = [
    ...['hello', 'map', 'map?level=ns', `map?${f('dir:egress')}`, 'timeline', 'drops', 'events'],
    ...[
      'flows',
      `flows?${f('to:ledger')}`,
      'find?q=a',
      'find?q=e',
      'find?q=cardpay',
      'values?key=ns',
      'values?key=to',
    ],
    ...[
      'values?key=policy',
      'values?key=label',
      'nodes',
      'why-empty?f=port:9999',
      'why-empty?f=ns:pay',
    ],
    ...[
      'workload/shop/checkout',
      'export?view=flows',
      'export?view=map&format=csv',
      'export?view=drops',
    ],
  ];
  for (const path of paths) {
    const text = await (await fetch(`${relay.url}api/${path}`)).text();
    assert.doesNotMatch(text.replaceAll('ns:pay', ''), /payments|ledger|cardpay/, path);
  }
  for (const path of ['workload/payments/ledger', 'service/payments/ledger', `drops/${row.id}`]) {
    await ask(relay, path, 404);
  }
  const stop = new AbortController();
  const stream = `${relay.url}api/stream?view=map`;
  for await (const event of events(stream, stop.signal)) {
    assert.doesNotMatch(JSON.stringify(event), /payments|ledger/);
    if (event.name === 'map') break;
  }
});

type Event = {
  readonly [Name in keyof StreamEvents]: { name: Name; data: StreamEvents[Name] };
}[keyof StreamEvents];

async function* events(url: string, signal: AbortSignal): AsyncGenerator<Event> {
  const response = await fetch(url, { signal });
  assert.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8');
  let text = '';
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const parts = text.split('\n\n');
    text = parts.pop()!;
    for (const part of parts) {
      const [, name, data] = /event: (.*)\ndata: (.*)$/.exec(part)!;
      yield { name, data: JSON.parse(data!) } as Event;
    }
  }
}

test('a stream brings the whole map, then its changes', async (t) => {
  const relay = await start(t, { flowsPerSecond: 200, beforeMs: 20_000 });
  const stop = new AbortController();
  let whole: MapAnswer | undefined;
  const names = new Set<string>();
  for await (const { name, data } of events(
    `${relay.url}api/stream?view=map&level=ns&w=1m`,
    stop.signal,
  )) {
    names.add(name);
    if (name !== 'map') continue;
    if ('base' in data) {
      assert.equal(data.base, whole?.seq);
      assert.ok(data.link.every((index) => index < whole!.links.from.length));
      break;
    }
    whole = data;
  }
  assert.deepEqual([...names].sort(), ['counts', 'hello', 'map']);
});

test('a stream of flows shows a part of many, and all drops', async (t) => {
  const relay = await start(t, { flowsPerSecond: 2000, beforeMs: 1000 });
  const stop = new AbortController();
  let [matched, shown, drops] = [0, 0, 0];
  for await (const { name, data } of events(`${relay.url}api/stream?view=flows`, stop.signal)) {
    if (name !== 'flows') continue;
    assert.equal(data.time.length, data.shown);
    assert.ok(data.shown <= 15);
    [matched, shown] = [matched + data.matched, shown + data.shown];
    drops += data.verdict.filter((verdict) => verdict === 2).length;
    if (drops > 2 && matched > 1000) break;
  }
  assert.ok(shown < matched / 4, `${shown} of ${matched}`);
});
