import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NodesAnswer } from '../../contract.ts';
import { formatTime } from '../../parts/format.ts';
import { fullest, nodesSentence } from './nodes.ts';

const node = (more: Partial<NodesAnswer['nodes'][number]> = {}): NodesAnswer['nodes'][number] => ({
  ...{ name: 'a', state: 'connected', text: '', since: 0, flowsPerSecond: 1, lost24h: 0 },
  ...{ clock: 0, keptSince: 0, version: '1', pods: 31, tables: [] },
  ...more,
});

test('the lead of the nodes names what is missing and what was lost', () => {
  assert.equal(nodesSentence([node()], 0), '1 of 1 node send flows. Nothing was lost in 24 h.');
  const at = formatTime(0, 0);
  assert.equal(
    nodesSentence(
      [node(), node({ name: 'b', state: 'gone' }), node({ name: 'c', lost24h: 7, lastLost: 0 })],
      0,
    ),
    `2 of 3 nodes send flows. b sends nothing since ${at}: its 31 pods are missing here. 7 flows were lost on c, last at ${at}; counters of drops are exact all the same.`,
  );
});

test('the fullest table is the one with the largest share in use', () => {
  const tables = [
    { name: 'flows', used: 100, size: 1000 },
    { name: 'rules', used: 9, size: 10 },
  ];
  assert.equal(fullest(tables)?.name, 'rules');
  assert.equal(fullest([]), undefined);
});
