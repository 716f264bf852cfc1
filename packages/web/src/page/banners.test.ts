import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Hello } from '../contract.ts';
import { formatTime } from '../parts/format.ts';
import { bannerTexts } from './banners.ts';

const day = 86_400_000;
const hello: Hello = {
  ...{ version: '1', cluster: 'c', run: 'r', now: 2 * day, features: [] },
  keptSince: { links: day, flows: day },
  nodes: { seen: 4, all: 4 },
  limits: { links: 1, historyBytes: 1 },
};
const texts = (more: Partial<Parameters<typeof bannerTexts>[0]>) =>
  bannerTexts({
    ...{ hello, nodes: hello.nodes, from: 2 * day - 1000, isFixed: false, now: 2 * day },
    ...more,
  }).map(({ text }) => text);

test('nothing is said while nothing is missing', () => {
  assert.deepEqual(texts({}), []);
  assert.deepEqual(texts({ hello: undefined, nodes: undefined }), []);
});

test('nodes that send nothing are counted', () => {
  assert.deepEqual(texts({ nodes: { seen: 3, all: 4 } }), [
    '1 node of 4 sends nothing: its pods are missing here.',
  ]);
  assert.deepEqual(texts({ nodes: { seen: 1, all: 4 } }), [
    '3 nodes of 4 send nothing: their pods are missing here.',
  ]);
});

test('a range before what is kept says so, a live window does not', () => {
  const since = formatTime(day, 2 * day);
  assert.deepEqual(texts({ from: 0, isFixed: true }), [`Kept since ${since}. Shown from there.`]);
  assert.deepEqual(texts({ from: 0 }), []);
});

test('the namespaces that the account may see are named', () => {
  const of = (namespaces: string[]) => texts({ hello: { ...hello, namespaces } });
  assert.deepEqual(of(['web', 'shop']), ['Your account may see namespaces web and shop.']);
  assert.deepEqual(of(['web']), ['Your account may see namespace web.']);
  assert.deepEqual(of([]), ['Your account may see no namespace.']);
});
