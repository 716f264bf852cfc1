import assert from 'node:assert/strict';
import { readObject } from '../src/kinds.ts';
import type { ObjectChange, ServiceInput } from '../src/records.ts';

/** Returns the record of a valid object; fails the test if the object is invalid or ignored. */
export function recordOf(object: unknown) {
  const read = readObject(object);
  assert.ok('record' in read, JSON.stringify(read));
  return read.record;
}

/** Returns the change that the agent's source would pass to a model for an object. */
export function changeOf(object: unknown): ObjectChange<ServiceInput> {
  const read = readObject(object);
  if (read.kind !== 'invalid') return { op: 'set', object: recordOf(object) };
  return { op: 'invalid', ...read.ref!, reason: read.reason };
}
