import { readFileSync } from 'node:fs';

/** Bytes of a committed object. */
export const objects = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../objects/${name}.o`, import.meta.url)));
