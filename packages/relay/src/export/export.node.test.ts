import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { addFlows } from '../../testing/history-writer.ts';
import type { RelayFlow } from '../traffic/model.ts';
import { Traffic } from '../traffic/traffic.ts';
import { JsonFile } from './json-file.ts';
import { collectorUrl, OtlpExport } from './otlp.ts';

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-export-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

function flowsOf(count: number): RelayFlow[] {
  const traffic = new Traffic();
  addFlows(traffic, Date.now(), count);
  return Array.from({ length: count }, (_, index) => traffic.ring.at(index));
}

test('lines go to files of a size, and the oldest file is removed', async (t) => {
  const folder = folderOf(t);
  const path = join(folder, 'flows.jsonl');
  const file = new JsonFile({ path, bytesMax: 1000, filesMax: 3, log: assert.fail });
  // Those of one moment are more than a file may have.
  for (let number = 0; number < 100; number++) file.add(JSON.stringify({ number }));
  for (let number = 100; number < 200; number++) {
    file.add(JSON.stringify({ number }));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await file.close();
  assert.equal(file.lost, 0);
  const names = readdirSync(folder).sort();
  assert.deepEqual(names, ['flows.jsonl', 'flows.jsonl.1', 'flows.jsonl.2']);
  const numbers = names
    .reverse()
    .flatMap((name) => readFileSync(join(folder, name), 'utf8').trim().split('\n'))
    .map((line) => JSON.parse(line).number);
  assert.deepEqual(
    numbers,
    Array.from({ length: numbers.length }, (_, at) => 200 - numbers.length + at),
  );
  for (const name of names) assert.ok(statSync(join(folder, name)).size <= 1000);
});

test('lines that cannot be written are counted, and the reason is reported once', async (t) => {
  const folder = folderOf(t);
  const path = join(folder, 'missing', 'flows.jsonl');
  const log: string[] = [];
  const file = new JsonFile({
    path,
    bytesMax: 1e6,
    filesMax: 2,
    log: (message) => log.push(message),
  });
  for (let line = 0; line < 3; line++) {
    file.add('{}');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await file.close();
  assert.equal(file.lost, 3);
  assert.equal(log.length, 1);
  assert.match(log[0]!, /^flows are not written to .*flows\.jsonl: ENOENT/);
});

/** Serves a collector that answers with these statuses in turn, then 200. */
async function collector(t: TestContext, ...statuses: number[]) {
  const bodies: string[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      const status = statuses.shift() ?? 200;
      if (status === 200) bodies.push(body);
      assert.equal(request.url, '/v1/logs');
      response.writeHead(status).end('{}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const records = () =>
    bodies.flatMap((body) => JSON.parse(body).resourceLogs[0].scopeLogs[0].logRecords);
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, records };
}

const common = { cluster: 'c1', version: 'v1', retryMs: [5, 20] as const };

test('flows reach a collector once each, after it has failed for a while', async (t) => {
  const { url, records } = await collector(t, 503, 429);
  const log: string[] = [];
  const otlp = new OtlpExport({ ...common, url, log: (message) => log.push(message) });
  for (const flow of flowsOf(3000)) otlp.add(flow);
  while (records().length < 3000) await new Promise((resolve) => setTimeout(resolve, 20));
  await otlp.close();
  assert.deepEqual([otlp.lost, records().length], [0, 3000]);
  const [record] = records();
  assert.match(record.timeUnixNano, /^\d{19}$/);
  assert.deepEqual([record.severityText, record.severityNumber], ['INFO', 9]);
  const attribute = (key: string) =>
    record.attributes.find((each: { key: string }) => each.key === key).value;
  assert.deepEqual(attribute('source.workload'), { stringValue: 'shop/client-0' });
  assert.deepEqual(attribute('destination.port'), { intValue: '443' });
  assert.match(log.at(-1)!, /^flows are sent to .* again$/);
});

test('flows that a collector refuses, and those beyond the queue, are counted as lost', async (t) => {
  const { url, records } = await collector(t, 400);
  const otlp = new OtlpExport({ ...common, url, log: () => {} });
  for (const flow of flowsOf(10)) otlp.add(flow);
  while (otlp.lost < 10) await new Promise((resolve) => setTimeout(resolve, 20));
  const [flow] = flowsOf(1);
  for (let count = 0; count < 20_000; count++) otlp.add(flow!);
  const left = otlp.lost - 10;
  assert.ok(left >= 20_000 - 16_384, `${left} are lost`);
  await otlp.close();
  assert.equal(records().length + otlp.lost, 20_010);
});

test('the address of a collector is a URL of HTTP', () => {
  assert.equal(collectorUrl('http://otel:4318').href, 'http://otel:4318/v1/logs');
  assert.equal(collectorUrl('https://otel/own/path').href, 'https://otel/own/path');
  for (const text of ['otel:4318', 'file:///x', '']) {
    assert.throws(() => collectorUrl(text), /^Error: export by OTLP: .* is no URL/);
  }
  assert.throws(
    () => collectorUrl('http://me:secret@otel'),
    ({ message }: Error) => {
      assert.match(message, /the URL of otel has a user or a password/);
      assert.doesNotMatch(message, /secret/);
      return true;
    },
  );
});
