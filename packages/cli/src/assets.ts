// What the program brings along as files. The built program (tools/build.ts) carries them inside
// itself: it has another module in place of this one.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Heddle's version, that of this package. */
export function version(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** Bytes of a compiled object of the kernel half by name, e.g. `socket`. */
export function objects(name: string): Uint8Array {
  const folder = new URL('../objects/', import.meta.resolve('@heddle/datapath'));
  return readFileSync(fileURLToPath(new URL(`${name}.o`, folder)));
}
