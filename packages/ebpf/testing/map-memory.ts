import { readFileSync } from 'node:fs';
import type { BpfMap } from '../src/map.ts';

/** Returns the bytes that the kernel has allocated for a map. Throws Error when it does not report them. */
export function mapMemory({ fd, info }: BpfMap): number {
  const text = readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8');
  const [, bytes] = /^memlock:\s+(\d+)/m.exec(text) ?? [];
  if (bytes === undefined) throw new Error(`${info.name} does not report its memory`);
  return Number(bytes);
}
