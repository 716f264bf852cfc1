import type { ObjectChange, ObjectRef } from '@heddle/objects';
import type { Validation } from '../../feature.ts';

/** Checks network policies as the agent does: the parts of each that cannot be used. */
export function validatePolicies(changes: readonly ObjectChange[]): Validation {
  const problems: { object: ObjectRef; message: string }[] = [];
  let rows = 0;
  for (const change of changes) {
    if (change.op !== 'set' || !isPolicy(change.object)) continue;
    rows++;
    const { object } = change;
    for (const message of object.problems) problems.push({ object, message });
  }
  return { rows, problems };
}

function isPolicy(
  object: ObjectRef,
): object is ObjectRef & { readonly problems: readonly string[] } {
  return object.kind === 'networkPolicy' || object.kind === 'clusterNetworkPolicy';
}
