import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { addFlows } from '../../testing/history-writer.ts';
import { noSums } from '../traffic/links.ts';
import { Traffic } from '../traffic/traffic.ts';
import { HistoryFile } from './history-file.ts';

const mebibyte = 1024 * 1024;

function filePath(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-history-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return join(folder, 'history.sqlite');
}

/** Returns the counts of all links by their ids, over the last day. */
function countsOf(traffic: Traffic, now: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (const row of traffic.links.rows) {
    const sums = noSums();
    row.buckets.sum(2, now - 86_400_000, now + 300_000, sums);
    counts.set(row.id, sums.count);
  }
  return counts;
}

test('a relay that starts again has the links that it had', (t) => {
  const path = filePath(t);
  const now = Date.now();
  const before = new Traffic();
  {
    using file = new HistoryFile(path, 64 * mebibyte);
    before.links.onCounted = (counted) => file.note(counted);
    for (let hour = 20; hour >= 0; hour--) {
      addFlows(before, now - hour * 3_600_000, 3);
      file.flush(now);
    }
  }
  const after = new Traffic();
  using file = new HistoryFile(path, 64 * mebibyte);
  for (const each of [path, `${path}-wal`]) assert.equal(statSync(each).mode & 0o027, 0, each);
  const oldest = file.load(after, now);
  assert.ok(oldest !== undefined && oldest <= now - 20 * 3_600_000);
  assert.deepEqual(countsOf(after, now), countsOf(before, now));
  // Nodes are asked for their latest flows: those that the file has are kept and not counted again.
  addFlows(after, now - 1000, 3);
  assert.deepEqual(countsOf(after, now), countsOf(before, now));
  assert.equal(after.ring.next, 3);
  addFlows(after, now + 1, 3);
  assert.equal(after.links.size, before.links.size);
  assert.notDeepEqual(countsOf(after, now), countsOf(before, now));
});

test('what was flushed is there after the process is killed', async (t) => {
  const path = filePath(t);
  const writer = fileURLToPath(new URL('../../testing/history-writer.ts', import.meta.url));
  const child = fork(writer, [path], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  t.after(() => child.kill('SIGKILL'));
  let flushed = 0;
  while (flushed < 5) [flushed] = await once(child, 'message');
  child.kill('SIGKILL');
  await once(child, 'exit');
  const traffic = new Traffic();
  using file = new HistoryFile(path, 64 * mebibyte);
  file.load(traffic, Date.now());
  const total = [...countsOf(traffic, Date.now()).values()].reduce((sum, count) => sum + count, 0);
  // Each flush of the writer has ten connections.
  assert.ok(total >= flushed * 10, `${total} connections after ${flushed} flushes`);
  assert.equal(total % 10, 0, 'a flush is there in part');
});

test('a file is bounded: its oldest hours are removed', (t) => {
  const path = filePath(t);
  using file = new HistoryFile(path, mebibyte);
  const traffic = new Traffic();
  traffic.links.onCounted = (counted) => file.note(counted);
  const now = Date.now();
  for (let minute = 600; minute >= 0; minute--) {
    addFlows(traffic, now - minute * 60_000, 100, 100);
    if (minute % 30 === 0) file.flush(now);
  }
  assert.ok(file.bytes <= mebibyte, `${file.bytes} bytes`);
  assert.ok(statSync(path).size <= 2 * mebibyte);
  const after = new Traffic();
  const oldest = file.load(after, now);
  assert.ok(oldest !== undefined && oldest > now - 600 * 60_000);
  assert.equal(after.links.size, 100);
});

test('a file that is no history is refused with its name and a remedy', (t) => {
  const path = filePath(t);
  writeFileSync(path, 'this is not a database, and long enough to have a header '.repeat(40));
  assert.throws(
    () => new HistoryFile(path, mebibyte),
    /^Error: open history file .*history\.sqlite: file is not a database \(remove the file or choose another\)$/,
  );
});
