import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Commit, commitProblems } from './commits.ts';

const good: Commit = {
  hash: '1234567',
  parents: 1,
  subject: 'ebpf: refuse unknown maps in loadObject',
  body: 'A misspelt name made a new map.\n',
};

describe('the check of commits', () => {
  it('accepts an area, an imperative and a body', () => {
    assert.deepEqual(commitProblems(good), []);
    assert.deepEqual(commitProblems({ ...good, subject: 'model, agent: take no rights' }), []);
  });

  it('refuses a subject without an area, a long one, and an empty body', () => {
    assert.match(commitProblems({ ...good, subject: 'Refuse maps' })[0]!, /area: imperative/);
    assert.match(commitProblems({ ...good, subject: 'ebpf: Refuse maps' })[0]!, /lower case/);
    assert.match(commitProblems({ ...good, subject: `a: ${'b'.repeat(70)}` })[0]!, /73 characters/);
    assert.match(commitProblems({ ...good, body: '\n' })[0]!, /no body/);
  });

  it('refuses a merge commit', () => {
    assert.match(commitProblems({ ...good, parents: 2 })[0]!, /merge commit/);
  });
});
