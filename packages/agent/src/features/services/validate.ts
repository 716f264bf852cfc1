import type { ObjectChange, ObjectRef, ServiceInput } from '@heddle/objects';
import { ServiceModel } from '@heddle/services';
import type { Validation } from '../../feature.ts';

/** Checks services as the agent does, refused externalIPs and contested frontends included. */
export function validateServices(changes: readonly ObjectChange[]): Validation {
  const model = new ServiceModel({ nodeName: '', ownAddresses: [] });
  const { upserted } = model.apply(changes as readonly ObjectChange<ServiceInput>[]);
  // Each row of a service repeats the problems of the service as a whole.
  const problems = new Map<string, { object: ObjectRef; message: string }>();
  for (const row of upserted) {
    const object = { kind: 'service', namespace: row.namespace, name: row.name };
    for (const message of row.problems) {
      problems.set(`${row.namespace}/${row.name} ${message}`, { object, message });
    }
  }
  return { rows: upserted.length, problems: [...problems.values()] };
}
