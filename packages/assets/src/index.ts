// The files that the program brings along. The built program (tools/build.ts) has another module in
// place of this one, with the files inside it.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Returns Heddle's version, that of this package. */
export function version(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** Returns the bytes of a compiled BPF object by its name, e.g. `socket`. */
export function objects(name: string): Uint8Array {
  const folder = new URL('../objects/', import.meta.resolve('@heddle/datapath'));
  return readFileSync(fileURLToPath(new URL(`${name}.o`, folder)));
}

/** Returns the bytes of the CNI plug-in, a static executable for Linux on this architecture. */
export function cniPlugin(arch: 'x64' | 'arm64'): Uint8Array {
  return readFileSync(new URL(`../cni/${arch}.elf`, import.meta.url));
}
