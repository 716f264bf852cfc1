import * as v from 'valibot';
import { FieldError } from './field-values.ts';

/** Returns the value as the schema types it. Throws FieldError, which names the first field that does not fit. */
export function checkShape<S extends v.GenericSchema>(schema: S, value: unknown): v.InferOutput<S> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const issue = result.issues[0];
  let path = '';
  for (const { key } of issue.path ?? []) {
    if (typeof key === 'number') path += `[${key}]`;
    else if (/^[A-Za-z]+$/.test(String(key))) path += path === '' ? String(key) : `.${String(key)}`;
    else path += `[${JSON.stringify(key)}]`;
  }
  // For a missing key valibot has a message of its own, because no schema saw a value.
  const rule = issue.input === undefined ? 'must be given' : issue.message;
  throw new FieldError(path, issue.input, rule);
}
