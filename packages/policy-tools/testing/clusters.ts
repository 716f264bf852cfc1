import assert from 'node:assert/strict';
import { type ObjectChange, ObjectReader, type ObjectRef } from '@heddle/objects';
import { type PolicyRecord, policyKey } from '@heddle/policy';
import { type CheckedPolicy, checkPolicy } from '../src/check/check.ts';
import { ClusterObjects, type ToolRecord, toolKinds } from '../src/cluster.ts';
import type { RawRemarks } from '../src/raw-remarks.ts';

// Makes the objects of clusters for tests.

interface Read {
  readonly cluster: ClusterObjects;
  readonly remarks: ReadonlyMap<string, RawRemarks>;
}

/** Returns the cluster with these objects. */
export function readCluster(...objects: readonly unknown[]): Read {
  const remarks = new Map<string, RawRemarks>();
  const onPolicy = (policy: PolicyRecord, remark: RawRemarks) =>
    remarks.set(policyKey(policy), remark);
  const reader = new ObjectReader<ToolRecord>(toolKinds(onPolicy));
  const changes = objects.map((object): ObjectChange<ToolRecord> => {
    const read = reader.read(object);
    assert.ok('record' in read, JSON.stringify(read));
    return { op: 'set', object: read.record };
  });
  return { cluster: new ClusterObjects(changes), remarks };
}

/** Returns the cluster with these objects. */
export function clusterOf(...objects: readonly unknown[]): ClusterObjects {
  return readCluster(...objects).cluster;
}

/** Checks the last of the objects, a policy, with the others. */
export function checkLast(...objects: readonly unknown[]): CheckedPolicy {
  const { cluster, remarks } = readCluster(...objects);
  const { policies } = cluster.world;
  const { kind, metadata } = objects.at(-1) as { kind: string; metadata: ObjectRef };
  const name = metadata.namespace ? `${metadata.namespace}/${metadata.name}` : metadata.name;
  const key = `${kind} ${name}`;
  const policy = policies.get(key);
  assert.ok(policy, key);
  return checkPolicy(cluster, policy, remarks.get(key));
}
