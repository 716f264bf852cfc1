import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { nodeKind, podKind } from '@heddle/objects';
import { mergedWatches, type Watch } from './watches.ts';

const merged = (...watches: Watch[]) => [...mergedWatches(watches).values()];
const pods = (fieldSelector?: string, labelSelector?: string): Watch => ({
  kind: podKind,
  ...(fieldSelector === undefined ? {} : { fieldSelector }),
  ...(labelSelector === undefined ? {} : { labelSelector }),
});

describe('mergedWatches', () => {
  it('keeps equal watches of several features once', () => {
    const own = pods('spec.nodeName=n1');
    assert.deepEqual(merged(own, pods('spec.nodeName=n1')), [own]);
  });

  it('leaves out a watch whose objects another one brings, too', () => {
    assert.deepEqual(merged(pods('spec.nodeName=n1'), pods()), [pods()]);
    assert.deepEqual(merged(pods('spec.nodeName=n1', 'a=b'), pods(undefined, 'a=b')), [
      pods(undefined, 'a=b'),
    ]);
  });

  it('keeps watches of different kinds, and of different selections', () => {
    const watches = [pods('spec.nodeName=n1'), pods(undefined, 'a=b'), { kind: nodeKind }];
    assert.deepEqual(merged(...watches), watches);
  });
});
