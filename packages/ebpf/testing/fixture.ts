import { readFileSync } from 'node:fs';

/** Returns the bytes of a file in testdata/. Pure tests read files only by this. */
export function fixture(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`../testdata/${name}`, import.meta.url)));
}
