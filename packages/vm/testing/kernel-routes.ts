import type { Bpf } from '@heddle/ebpf';
import { loadText } from './run.ts';

/** struct bpf_fib_lookup has 64 bytes; the flags are behind it. */
const ROUTE = 64;
const PACKET = 128;

/**
 * Returns the kernel's routes for a machine that simulates it: a test run of a program looks up the FIB of the
 * calling thread's network namespace, and changes nothing.
 */
export function kernelRoutes(kernel: Bpf): Disposable & {
  readonly routes: (route: Uint8Array, flags: number) => number;
} {
  const copy = (to: string, from: string) =>
    Array.from({ length: ROUTE / 8 }, (_, i) =>
      to === 'stack'
        ? `r0 = *(u64 *)(r7 + ${8 * i}); *(u64 *)(r10 - ${ROUTE - 8 * i}) = r0`
        : `r1 = *(u64 *)(${from} - ${ROUTE - 8 * i}); *(u64 *)(r7 + ${8 * i}) = r1`,
    ).join('\n');
  const program = loadText(
    kernel,
    `r6 = r1
     r7 = *(u32 *)(r6 + 76); r8 = *(u32 *)(r6 + 80)
     r0 = 0; r1 = r7; r1 += ${ROUTE + 4}; if r1 > r8 goto end
     ${copy('stack', 'r7')}
     r4 = *(u32 *)(r7 + ${ROUTE})
     r1 = r6; r2 = r10; r2 += -${ROUTE}; r3 = ${ROUTE}; call 69
     r7 = *(u32 *)(r6 + 76); r8 = *(u32 *)(r6 + 80)
     r1 = r7; r1 += ${ROUTE + 4}; if r1 > r8 goto end
     ${copy('packet', 'r10')}
     end:; exit`,
  );
  const data = new Uint8Array(PACKET);
  return {
    routes(route, flags) {
      data.set(route);
      new DataView(data.buffer).setUint32(ROUTE, flags, true);
      const result = program.testRun({ data });
      route.set(result.data.subarray(0, ROUTE));
      return result.returnValue | 0;
    },
    [Symbol.dispose]: () => program[Symbol.dispose](),
  };
}
