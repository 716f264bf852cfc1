import { readFileSync } from 'node:fs';
import type { BpfMap } from '../src/map.ts';

/** Bytes that the kernel has taken for a map. Throws an Error when it does not tell. */
export function mapMemory({ fd, info }: BpfMap): number {
  const text = readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8');
  const [, bytes] = /^memlock:\s+(\d+)/m.exec(text) ?? [];
  if (bytes === undefined) throw new Error(`${info.name} does not tell what it takes`);
  return Number(bytes);
}
