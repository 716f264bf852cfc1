import { type Bpf, BpfMap, BpfProgram, type MapSpec, mapTypes, programTypes } from '@heddle/ebpf';
import { assemble } from './assembler.ts';

/** A Spec of a map of four-byte keys and values with room for 16, but for `changes`. */
export function mapSpec(changes: Partial<MapSpec>): MapSpec {
  return {
    name: 'test',
    type: mapTypes.hash,
    keySize: 4,
    valueSize: 4,
    maxEntries: 16,
    flags: 0,
    keyTypeId: 0,
    valueTypeId: 0,
    extra: 0n,
    pinByName: false,
    inner: undefined,
    contents: undefined,
    readOnly: false,
    ...changes,
  };
}

/** Assembles and loads a program; `maps` are those that it names. */
export function loadText(
  bpf: Bpf,
  source: string,
  maps: Readonly<Record<string, BpfMap>> = {},
  type: number = programTypes.sched_cls,
): BpfProgram {
  const { bytes, maps: references } = assemble(source);
  const view = new DataView(bytes.buffer);
  for (const { at, name } of references) {
    const map = maps[name];
    if (!map) throw new Error(`no map ${name}`);
    view.setInt32(at * 8 + 4, map.fd, true);
  }
  return BpfProgram.load(bpf, { name: 'test', type, instructions: bytes, license: 'GPL' });
}

/** Runs instructions on both a packet of zeros and returns r0 as it was before the end, all 64 bits. */
export function evaluate(bpf: Bpf, source: string): bigint {
  using result = BpfMap.create(
    bpf,
    mapSpec({ name: 'result', type: mapTypes.array, valueSize: 8, maxEntries: 1 }),
  );
  const wrapped = `${source}
r1 = value result
*(u64 *)(r1 + 0) = r0
r0 = 0
exit`;
  using program = loadText(bpf, wrapped, { result });
  program.testRun({ data: new Uint8Array(64) });
  const value = result.lookup(new Uint8Array(4))!;
  return new DataView(value.buffer, value.byteOffset).getBigUint64(0, true);
}
