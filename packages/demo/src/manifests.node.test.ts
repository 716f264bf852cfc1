import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { endpointSlices, exampleFolder } from './manifests.ts';

const endpoint = (number: number) => ({
  pod: `pod-1-${number}`,
  node: 'node1',
  addresses: { v4: `10.244.1.${number}`, v6: `fd00:10:244:1::${number}` },
});

test('endpoints are written as the example has them', () => {
  const example = readFileSync(`${exampleFolder}/endpoints.yaml`, 'utf8');
  assert.equal(endpointSlices([1, 2].map(endpoint)), example);
});

test('a service without endpoints has an empty list', () => {
  assert.match(endpointSlices([]), /\nendpoints: \[\]\n---\n/);
});
