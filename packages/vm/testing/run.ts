import { type Bpf, BpfMap, BpfProgram, mapTypes, programTypes } from '@heddle/ebpf';
import { mapSpec } from '@heddle/ebpf/testing/map-spec';
import { assemble } from './assembler.ts';

/** Assembles and loads a program. `maps` has the maps that it names. */
export function loadText(
  bpf: Bpf,
  source: string,
  maps: Readonly<Record<string, BpfMap>> = {},
  type: number = programTypes.sched_cls,
): BpfProgram {
  const { bytes, maps: references, functions } = assemble(source);
  const view = new DataView(bytes.buffer);
  for (const { at, name } of references) {
    const map = maps[name];
    if (!map) throw new Error(`no map ${name}`);
    view.setInt32(at * 8 + 4, map.fd, true);
  }
  const options = { name: 'test', type, instructions: bytes, license: 'GPL' };
  if (functions.length === 1) return BpfProgram.load(bpf, options);
  // The kernel accepts addresses of functions only with their BTF.
  const btf = bpf.btfLoad(functionBtf(functions.length));
  try {
    const info = new Uint32Array(functions.flatMap((slot, i) => [slot, 3 + i]));
    return BpfProgram.load(bpf, { ...options, btf, functionInfo: new Uint8Array(info.buffer) });
  } finally {
    bpf.close(btf);
  }
}

/** BTF of `int` (id 1), a prototype without parameters (id 2) and functions of it (from 3 on). */
function functionBtf(count: number): Uint8Array {
  const int = [1, 0x01000000, 4, 0x01000020];
  const prototype = [0, 0x0d000000, 1];
  const functions = Array.from({ length: count }, () => [5, 0x0c000000, 2]).flat();
  const types = [...int, ...prototype, ...functions];
  const strings = [0, 0x69, 0x6e, 0x74, 0, 0x66, 0, 0];
  const length = types.length * 4;
  const words = new Uint32Array([
    0x0001eb9f,
    24,
    0,
    length,
    length,
    strings.length,
    ...types,
    0,
    0,
  ]);
  const bytes = new Uint8Array(words.buffer);
  bytes.set(strings, 24 + length);
  return bytes;
}

/**
 * Runs instructions on a packet of zeros and returns all 64 bits of r0 at their end. The functions that they
 * call are behind `---`.
 */
export function evaluate(bpf: Bpf, source: string): bigint {
  using result = BpfMap.create(
    bpf,
    mapSpec({ name: 'result', type: mapTypes.array, valueSize: 8, maxEntries: 1 }),
  );
  const [main, functions = ''] = source.split('---');
  const wrapped = `${main}
r1 = value result
*(u64 *)(r1 + 0) = r0
r0 = 0
exit
${functions}`;
  using program = loadText(bpf, wrapped, { result });
  program.testRun({ data: new Uint8Array(64) });
  const value = result.lookup(new Uint8Array(4))!;
  return new DataView(value.buffer, value.byteOffset).getBigUint64(0, true);
}
