import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ApiError } from '@heddle/web/contract';
import { clusters } from './clusters.ts';
import { flowsOfTick, flowsOfTicks } from './flows.ts';
import { ScriptedRelay } from './relay.ts';
import { ScriptedServer } from './server.ts';

const now = Date.UTC(2026, 11, 1, 13, 10, 32);

test('the invented clusters have the sizes that the page is designed for', () => {
  const shop = clusters['shop-berlin']();
  const metro = clusters['metro-500']();
  assert.equal(shop.workloads.length, 64);
  const pods = metro.workloads.reduce((sum, workload) => sum + workload.pods.length, 0);
  assert.ok(metro.workloads.length > 450 && pods > 4500 && metro.links.length > 2500);
});

test('the same tick has the same flows, with every drop among those that are shown', () => {
  const relay = new ScriptedRelay(clusters['shop-berlin'](), () => now, 10_000);
  const rows = flowsOfTick(relay.sources(''), 1000);
  assert.deepEqual(rows, flowsOfTick(relay.sources(''), 1000));
  assert.equal(rows.shown, 15);
  assert.ok(rows.matched > 2400 && rows.matched < 2600, String(rows.matched));
  const drops = relay.sources('verdict:dropped');
  const all = flowsOfTick(drops, 1000);
  assert.equal(all.matched, all.shown);
});

test('pages of flows follow on each other', () => {
  const relay = new ScriptedRelay(clusters['shop-berlin'](), () => now);
  const first = flowsOfTicks(relay.sources(''), 1000, 100, 30);
  const second = flowsOfTicks(relay.sources(''), Number(first.next), 100, 30);
  assert.ok(first.time.at(-1)! >= second.time[0]!);
  assert.equal(new Set([...first.id, ...second.id]).size, first.shown + second.shown);
});

test('the server answers what the contract has, and an unknown name or a wrong filter with an error', async () => {
  await using server = new ScriptedServer(new ScriptedRelay(clusters['shop-berlin'](), () => now));
  await server.start();
  const get = async (path: string) => {
    const response = await fetch(server.url + path);
    const body = (await response.json()) as Partial<ApiError>;
    return { status: response.status, error: body.error };
  };
  const found = ['hello', 'map?level=ns', 'timeline', 'drops', 'events', 'nodes', 'find?q=led'];
  for (const path of [...found, 'why-empty?f=ns:shpo', 'flows', 'workload/payments/ledger']) {
    assert.equal((await get(`api/${path}`)).status, 200, path);
  }
  assert.equal((await get('api/workload/a/b')).error?.code, 'unknown');
  const wrong = await get('api/flows?f=ns:shop%20port:http');
  assert.equal(wrong.status, 400);
  assert.equal(wrong.error?.word, 1);
});
