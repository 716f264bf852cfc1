import type * as v from 'valibot';
import { nodeSchema, podSchema, serviceSchema, sliceSchema } from './schema.ts';

/** What of a JSON value a reader needs: all of it, or these keys; lists are looked through. */
export type Fields = true | { readonly [name: string]: Fields };

/** What readObject looks at, by kind, so that a reader of JSON can skip the rest. */
export const serviceFields: Fields = objectFields(serviceSchema);
export const sliceFields: Fields = objectFields(sliceSchema);
export const nodeFields: Fields = objectFields(nodeSchema);
export const podFields: Fields = objectFields(podSchema);

function objectFields(schema: v.GenericSchema): Fields {
  return { apiVersion: true, kind: true, ...(fieldsOf(schema) as object) };
}

/** The keys that a schema names; its rule for all other keys of a map is not for what is kept. */
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
