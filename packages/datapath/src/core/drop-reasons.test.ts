import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { dropReason, refusalReason } from '../generated/abi.ts';
import { dropReasons, dropReasonText } from './drop-reasons.ts';

describe('dropReasons', () => {
  it('has one entry with a text and a Hubble name of its own for each reason of abi.h', () => {
    const numbers = dropReasons.map(({ number }) => number);
    assert.deepEqual(numbers.toSorted(), Object.values(dropReason).toSorted());
    for (const field of ['number', 'hubbleName', 'text'] as const) {
      const values = new Set<unknown>(dropReasons.map((reason) => reason[field]));
      assert.equal(values.size, dropReasons.length, field);
    }
  });

  it('has the reasons of refused socket calls under the same numbers and names', () => {
    for (const [name, number] of Object.entries(refusalReason)) {
      assert.equal(dropReason[name as keyof typeof dropReason], number, name);
    }
  });

  it('names a reason by its number that this version does not know', () => {
    assert.equal(dropReasonText(dropReason.noBackend), 'no endpoints');
    assert.equal(dropReasonText(200), 'reason 200');
  });
});
