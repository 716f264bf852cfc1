// Speed of the machine beside the kernel's test run: `node packages/vm/testing/speed.ts` (root for
// the kernel's). Variants take turns; printed is the median of the rounds, and the best.
import { readFileSync } from 'node:fs';
import { type Bpf, type BpfProgram, LinuxBpf, loadObject, readObject } from '@heddle/ebpf';
import { nodePlatform } from '@heddle/sys/node';
import { VmBpf } from '../src/index.ts';
import { loadText } from './run.ts';

const rounds = 15;
const platform = nodePlatform(() => {});
const never = Number.POSITIVE_INFINITY;
const engines: Readonly<Record<string, Bpf>> = {
  'kernel (JIT)': new LinuxBpf(platform),
  'machine, interpreted': new VmBpf({ budget: 1e9, translateAfter: never }),
  'machine, translated': new VmBpf({ budget: 1e9, translateAfter: 0 }),
};

/** Arithmetic, memory and jumps; some 11,000 instructions a run. */
const loop = `r6 = 1000
r2 = 12345; r3 = 0; r4 = 7
loop:
r3 += r2; r3 ^= r4; w5 = w3; w5 *= 31
*(u64 *)(r10 - 8) = r3; r1 = *(u32 *)(r10 - 8)
r4 += r1; r2 <<= 1; r2 |= r5
r6 -= 1
if r6 > 0 goto loop
r0 = r3
exit`;

/** An IPv4 SYN to nobody: the headers are read and a map is asked. */
function foreignPacket(): Uint8Array {
  const bytes = new Uint8Array(74);
  bytes.set([8, 0, 0x45, 0, 0, 60, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], 12);
  bytes.set([0, 80, 0, 81, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2], 34);
  return bytes;
}

function report(
  what: string,
  repeat: number,
  data: Uint8Array,
  load: (bpf: Bpf) => BpfProgram,
): void {
  const counter = new VmBpf({ budget: 1e9 });
  let instructions = 0;
  counter.machine.observer = () => instructions++;
  load(counter).testRun({ data });
  console.log(`${what}: ${instructions} instructions`);
  const programs = Object.entries(engines).map(([name, bpf]) => ({
    name,
    program: load(bpf),
    ns: [] as number[],
  }));
  for (let round = 0; round < rounds; round++) {
    for (const { program, ns } of programs) {
      const start = performance.now();
      program.testRun({ data, repeat });
      ns.push(((performance.now() - start) * 1e6) / repeat);
    }
  }
  for (const { name, ns } of programs) {
    const sorted = ns.sort((a, b) => a - b);
    const [best, median] = [sorted[0]!, sorted[sorted.length >> 1]!];
    const rate = (time: number) => ((instructions * 1000) / time).toFixed(0).padStart(6);
    console.log(
      `  ${name.padEnd(22)}${(median / 1000).toFixed(2).padStart(9)} µs a run${rate(median)} million instructions/s (best${rate(best)})`,
    );
  }
}

report('a loop', 300, new Uint8Array(64), (bpf) => loadText(bpf, loop));
const object = new Uint8Array(
  readFileSync(new URL('../../datapath/objects/node.o', import.meta.url)),
);
report('node_ingress, a packet that is not for a service', 3000, foreignPacket(), (bpf) =>
  loadObject(bpf, platform, readObject(object)).program('node_ingress'),
);
