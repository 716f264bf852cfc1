import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { occurrences, phrases } from './wording.ts';

describe('the check of words', () => {
  it('finds a phrase in any case, with its line', () => {
    const [found, ...others] = occurrences('a row\nis In Force now\n');
    assert.equal(found?.line, 2);
    assert.equal(found?.words, 'In Force');
    assert.equal(found?.text, 'is In Force now');
    assert.equal(found?.phrase.instead, 'programmed');
    assert.deepEqual(others, []);
  });

  it('accepts traffic from outside the cluster, and refuses "from outside" alone', () => {
    assert.deepEqual(occurrences('packets from outside the cluster'), []);
    assert.deepEqual(occurrences('packets from outside-1, a host'), []);
    assert.equal(occurrences('packets from outside go on').length, 1);
  });

  it('refuses a doc comment that starts with a question word or a preposition', () => {
    assert.equal(occurrences('/** Of Heddle. */').length, 1);
    assert.equal(occurrences('/** Whether it is there. */').length, 1);
    assert.deepEqual(occurrences('/** Returns true if it is there. */'), []);
  });

  it('has only global patterns, which find every occurrence', () => {
    for (const { pattern } of phrases) assert.ok(pattern.flags.includes('g'), pattern.source);
  });
});
