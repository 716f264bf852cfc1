import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { ObjectChange } from '@heddle/objects';
import { nodePlatform } from '@heddle/sys/node';
import { FakeHost } from '../../../testing/host.ts';
import { MemoryDatapath } from '../../../testing/parts.ts';
import { ownNodeFeature } from './own-node.ts';

it('the own-node feature warns while the complete source has no Node of this name', () => {
  const feature = ownNodeFeature.open(new FakeHost(nodePlatform(() => {})), undefined);
  const warnings = (isComplete: boolean) =>
    feature.warnings!({
      datapath: new MemoryDatapath().status(),
      source: { kind: 'cluster', path: '', phase: 'following', sinceMs: 0 },
      isComplete,
    });
  assert.deepEqual(warnings(false), []);
  assert.match(warnings(true)[0]!, /^the API server has no Node n1: .* --node\)$/);
  const object = { kind: 'node', namespace: '', name: 'n1', leaving: false };
  feature.apply([{ op: 'set', object } as ObjectChange], true);
  assert.deepEqual(warnings(true), []);
  assert.equal(feature.isNodeEligible, true);
  feature.apply([{ op: 'delete', kind: 'node', namespace: '', name: 'n1' }], true);
  assert.equal(warnings(true).length, 1);
  assert.equal(feature.isNodeEligible, false);
});
