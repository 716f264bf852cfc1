import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { endpointSlices, exampleFolder } from './manifests.ts';

const endpoint = (number: number) => ({
  pod: `pod-1-${number}`,
  node: 'node1',
  addresses: { v4: `10.244.1.${number}`, v6: `fd00:10:244:1::${number}` },
});

test('endpointSlices returns the text of the example for its endpoints', () => {
  const example = readFileSync(`${exampleFolder}/endpoints.yaml`, 'utf8');
  assert.equal(endpointSlices([1, 2].map(endpoint)), example);
});

test('endpointSlices returns an empty list without endpoints', () => {
  assert.match(endpointSlices([]), /\nendpoints: \[\]\n---\n/);
});
