import { sharedText } from './memory.ts';
import type { Workload } from './records.ts';
import type { PodObject } from './schema.ts';

/** The label that differs between the ReplicaSets of a Deployment; the name of a ReplicaSet ends with it. */
const templateHash = 'pod-template-hash';

/** A CronJob names its Jobs after itself and the minute for which it starts them, in minutes since 1970. */
const scheduled = /^(.+)-\d{8,10}$/;

const shared = new Map<string, Workload>();
const maxShared = 10_000;

/**
 * Returns the workload of a pod by its controller: the Deployment of a ReplicaSet, the CronJob of a Job, or the controller
 * itself. The objects between are not read: the names show what they belong to.
 */
export function readWorkload({
  labels,
  ownerReferences,
}: Pick<PodObject['metadata'], 'labels' | 'ownerReferences'>): Workload | undefined {
  const owner = ownerReferences?.find(({ controller }) => controller === true);
  if (!owner) return undefined;
  const { kind, name } = owner;
  if (kind === 'ReplicaSet') {
    const end = `-${labels?.[templateHash] ?? ''}`;
    const isDeployments = end.length > 1 && name.length > end.length && name.endsWith(end);
    return isDeployments
      ? sharedWorkload('Deployment', name.slice(0, -end.length))
      : sharedWorkload(kind, name);
  }
  const cronJob = kind === 'Job' ? scheduled.exec(name)?.[1] : undefined;
  return cronJob === undefined ? sharedWorkload(kind, name) : sharedWorkload('CronJob', cronJob);
}

/** Returns one object for equal workloads, as long as there are not too many different ones. */
function sharedWorkload(kind: string, name: string): Workload {
  const key = `${kind} ${name}`;
  const existing = shared.get(key);
  if (existing) return existing;
  if (shared.size >= maxShared) shared.clear();
  const own = { kind: sharedText(kind), name: sharedText(name) };
  shared.set(key, own);
  return own;
}
