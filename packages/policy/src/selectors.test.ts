import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Requirement, readLabels } from '@heddle/objects';
import { matchesLabels, selectorKey } from './selectors.ts';

const labels = readLabels({ app: 'web', tier: '' });
const matches = (
  operator: Requirement['operator'],
  key: string,
  values: readonly string[] = [],
): boolean => matchesLabels([{ key, operator, values }], labels);

test('In needs the label with one of the values', () => {
  assert.equal(matches('In', 'app', ['api', 'web']), true);
  assert.equal(matches('In', 'app', ['api']), false);
  assert.equal(matches('In', 'tier', ['']), true);
  assert.equal(matches('In', 'team', ['']), false);
});

test('NotIn also matches an object without the label', () => {
  assert.equal(matches('NotIn', 'app', ['api', 'web']), false);
  assert.equal(matches('NotIn', 'app', ['api']), true);
  assert.equal(matches('NotIn', 'team', ['a']), true);
});

test('Exists and DoesNotExist ignore the value', () => {
  assert.equal(matches('Exists', 'tier'), true);
  assert.equal(matches('Exists', 'team'), false);
  assert.equal(matches('DoesNotExist', 'tier'), false);
  assert.equal(matches('DoesNotExist', 'team'), true);
});

test('a value is no key, and all requirements must hold', () => {
  assert.equal(matches('Exists', 'web'), false);
  const app: Requirement = { key: 'app', operator: 'In', values: ['web'] };
  const team: Requirement = { key: 'team', operator: 'Exists', values: [] };
  assert.equal(matchesLabels([app], labels), true);
  assert.equal(matchesLabels([app, team], labels), false);
  assert.equal(matchesLabels([], labels), true);
});

test('selectorKey is equal for selectors that differ in order only', () => {
  const app: Requirement = { key: 'app', operator: 'In', values: ['a', 'b'] };
  const team: Requirement = { key: 'team', operator: 'Exists', values: [] };
  const other: Requirement = { ...app, values: ['b', 'a'] };
  assert.equal(selectorKey([app, team]), selectorKey([team, other]));
  assert.notEqual(selectorKey([app]), selectorKey([{ ...app, operator: 'NotIn' }]));
});
