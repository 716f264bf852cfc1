import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeNameProblem } from './node-name.ts';

test('a Node name that no Node object has is a warning, with the names that there are', () => {
  assert.match(
    nodeNameProblem('typo', ['a', 'b'], 'folder')!,
    /^the manifests have no Node typo: .*--node; there are a, b\)$/,
  );
  const many = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
  assert.match(nodeNameProblem('typo', many, 'folder')!, /there are a, b, c, d, e and 2 more\)$/);
  assert.match(nodeNameProblem('typo', [], 'cluster')!, /^the API server has no Node typo: /);
});

test('a folder without Nodes, and an existing Node, are no warning', () => {
  assert.equal(nodeNameProblem('any', [], 'folder'), undefined);
  assert.equal(nodeNameProblem('a', ['b', 'a'], 'folder'), undefined);
  assert.equal(nodeNameProblem('a', ['a'], 'cluster'), undefined);
});
