import type { MapSpec } from '../src/spec.ts';
import { mapTypes } from '../src/uapi.ts';

/** Returns a Spec of a map with 16 elements of four-byte keys and values, with `changes`. */
export function mapSpec(changes: Partial<MapSpec>): MapSpec {
  return {
    name: 'test',
    type: mapTypes.hash,
    keySize: 4,
    valueSize: 4,
    maxEntries: 16,
    flags: 0,
    keyTypeId: 0,
    valueTypeId: 0,
    extra: 0n,
    pinByName: false,
    inner: undefined,
    contents: undefined,
    readOnly: false,
    ...changes,
  };
}
