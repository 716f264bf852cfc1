import type { BpfMap } from '@heddle/ebpf';

/** Returns the sum over all CPUs of an element of a per-CPU array of 64-bit counters. Throws SysError. */
export function sumOfCpus(counters: BpfMap, element: number): number {
  const values = counters.lookup(new Uint8Array(Uint32Array.of(element).buffer))!;
  const perCpu = new BigUint64Array(values.slice().buffer);
  return Number(perCpu.reduce((sum, count) => sum + count, 0n));
}
