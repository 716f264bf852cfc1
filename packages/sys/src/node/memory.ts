import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { LibraryHandle } from 'koffi';

/**
 * Trades some speed of the engine for memory, in a process that stays; to be called before it has
 * done much. Flags on Node.js' command line would do the same, but only if everybody gave them.
 * Measured after reading 5,000 services from YAML: 191 MiB resident become 112, for as much CPU time.
 */
export function saveMemory(): void {
  // The young generation stays at 1 MiB. By default it grows to 16 under the parser's garbage, and
  // takes the old one along; nothing shrinks in a process that then has little to do.
  setFlagsFromString('--semi-space-growth-factor=1');
  // Maglev's code is as fast for this work, without TurboFan's pages and its threads' heaps.
  setFlagsFromString('--no-turbofan');
}

/** Platform.compact on V8, and on glibc. */
export function compactMemory(libc: LibraryHandle): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (options: object) => void;
  setFlagsFromString('--no-expose-gc');
  // As when memory runs out: this also moves together what is left, and unmaps pages between.
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  try {
    // The heaps of V8's compiler threads keep what they once needed.
    libc.func('malloc_trim', 'int', ['size_t'])(0);
  } catch {
    // Other C libraries than glibc don't have it, nor the need.
  }
}
