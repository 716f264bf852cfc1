import { readFileSync } from 'node:fs';

/** Bytes of a file in testdata/. Pure tests get at files this way only. */
export function fixture(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`../testdata/${name}`, import.meta.url)));
}
