import assert from 'node:assert/strict';
import { readObject } from '../src/read-object.ts';
import type { ObjectChange } from '../src/records.ts';

/** The record of an object that must be usable. */
export function recordOf(object: unknown) {
  const read = readObject(object);
  assert.ok('record' in read, JSON.stringify(read));
  return read.record;
}

/** The change that the agent would give to a model for an object. */
export function changeOf(object: unknown): ObjectChange {
  const read = readObject(object);
  if (read.kind !== 'invalid') return { op: 'set', object: recordOf(object) };
  return { op: 'invalid', ...read.ref!, reason: read.reason };
}
