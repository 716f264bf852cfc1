import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MapAnswer } from '../contract.ts';
import { applyDelta, isWholeMap } from './map-delta.ts';

const map: MapAnswer = {
  seq: 7,
  from: 0,
  to: 1000,
  namespaces: { name: ['shop'], outside: [false] },
  workloads: {
    namespace: [0, 0],
    name: ['cart', 'db'],
    kind: 'DS',
    pods: [1, 1],
    workloads: [1, 1],
  },
  links: {
    from: [0, 1],
    to: [1, 0],
    protocol: [6, 6],
    port: [80, 81],
    forwarded: [1, 2],
    dropped: [0, 0],
    refused: [0, 0],
    audit: [0, 0],
    bytesOut: [0, 0],
    bytesIn: [0, 0],
    last: [0, 0],
  },
  hubs: [],
  left: { links: 0, connections: 0 },
};

test('a delta changes the values of its links and nothing else', () => {
  const delta = { seq: 8, base: 7, from: 10, to: 1010, link: [1, 99], forwarded: [5, 6] };
  assert.equal(isWholeMap(map), true);
  assert.equal(isWholeMap(delta), false);
  const changed = applyDelta(map, delta)!;
  assert.deepEqual(changed, {
    ...map,
    seq: 8,
    from: 10,
    to: 1010,
    links: { ...map.links, forwarded: [1, 5] },
  });
  assert.deepEqual(map.links.forwarded, [1, 2]);
});

test('a delta for another map is not applied', () => {
  const delta = { seq: 9, base: 8, from: 0, to: 0, link: [0], forwarded: [5] };
  assert.equal(applyDelta(map, delta), undefined);
  assert.equal(applyDelta(undefined, delta), undefined);
});
