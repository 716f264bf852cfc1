import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodePlatform } from '@heddle/sys/node';
import { parseStat, processFacts } from './process-facts.ts';

test('processFacts returns what Node.js reports of the process', () => {
  const facts = processFacts(nodePlatform());
  const { user, system } = process.cpuUsage();
  assert.ok(Math.abs(facts.cpuSeconds - (user + system) / 1e6) < 0.5);
  assert.ok(Math.abs(facts.residentBytes / process.memoryUsage().rss - 1) < 0.5);
  assert.ok(facts.virtualBytes > facts.residentBytes);
  const startSeconds = Date.now() / 1000 - process.uptime();
  assert.ok(Math.abs(facts.startSeconds - startSeconds) < 5, `${facts.startSeconds}`);
  assert.ok(facts.openFds > 5 && facts.openFds < facts.maxFds);
});

test('processFacts reads the numbers of a program with any name', () => {
  const rest = Array.from({ length: 30 }, (_, i) => `${i + 4}`).join(' ');
  assert.deepEqual(parseStat(`7 (a) b) (c) S ${rest}`), {
    cpuTicks: 29,
    startTicks: 22,
    virtualBytes: 23,
    residentPages: 24,
  });
});
