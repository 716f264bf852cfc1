import type * as v from 'valibot';
import {
  clusterNetworkPolicySchema,
  namespaceSchema,
  networkPolicySchema,
} from './policy-schema.ts';
import { nodeSchema, podSchema, serviceSchema, sliceSchema } from './schema.ts';

/**
 * The part of a JSON value that a reader needs: all of it, or these keys. It applies to each item of a
 * list.
 */
export type Fields = true | { readonly [name: string]: Fields };

/** The fields that `read` of each Kind uses. */
export const serviceFields: Fields = objectFields(serviceSchema);
export const sliceFields: Fields = objectFields(sliceSchema);
export const nodeFields: Fields = objectFields(nodeSchema);
export const podFields: Fields = objectFields(podSchema);
export const namespaceFields: Fields = objectFields(namespaceSchema);
export const networkPolicyFields: Fields = objectFields(networkPolicySchema);
export const clusterNetworkPolicyFields: Fields = objectFields(clusterNetworkPolicySchema);

function objectFields(schema: v.GenericSchema): Fields {
  return { apiVersion: true, kind: true, ...(fieldsOf(schema) as object) };
}

/**
 * Returns the keys that a schema names. Its rule for all other keys of a map only validates them.
 */
function fieldsOf(schema: v.GenericSchema): Fields {
  const { entries, item, wrapped } = schema as {
    entries?: Readonly<Record<string, v.GenericSchema>>;
    item?: v.GenericSchema;
    wrapped?: v.GenericSchema;
  };
  const inner = item ?? wrapped;
  if (inner) return fieldsOf(inner);
  if (!entries) return true;
  return Object.fromEntries(
    Object.entries(entries).map(([name, entry]) => [name, fieldsOf(entry)]),
  );
}
