import { readFileSync } from 'node:fs';
import {
  type Bpf,
  type BpfProgram,
  kernelBtf,
  LinuxBpf,
  loadObject,
  readObject,
} from '@heddle/ebpf';
import { eth } from '@heddle/lab';
import type { Platform } from '@heddle/sys';
import { VmBpf } from '@heddle/vm';
import { loadText } from '@heddle/vm/testing/run';
import { median, spread } from '../statistics.ts';
import { type Case, type Row, verdict } from './case.ts';

const name = 'machine';
const never = Number.POSITIVE_INFINITY;
const budget = 1e9;
const engines = {
  kernel: (platform: Platform) => new LinuxBpf(platform),
  interpreted: () => new VmBpf({ budget, translateAfter: never }),
  translated: () => new VmBpf({ budget, translateAfter: 0 }),
} as const;
type Engine = keyof typeof engines;

/** The program to run, and the number of its runs in a round. */
interface Work {
  readonly name: string;
  readonly data: Uint8Array;
  readonly repeat: number;
  readonly load: (bpf: Bpf, platform: Platform) => BpfProgram;
}

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

/** A SYN to no frontend, the usual packet of node_ingress: it reads the headers and looks up a map. The device is lo. */
const stranger = eth({ dst: '00:00:00:00:00:00' })
  .ipv4({ src: '10.0.0.1', dst: '10.0.0.2' })
  .tcp({ sport: 80, dport: 81, syn: true });

const object = new URL('../../packages/datapath/objects/node.o', import.meta.url);
const works: readonly Work[] = [
  { name: 'a loop', data: new Uint8Array(64), repeat: 300, load: (bpf) => loadText(bpf, loop) },
  {
    ...{ name: 'node_ingress', data: stranger.bytes, repeat: 3000 },
    load: (bpf, platform) =>
      loadObject(bpf, readObject(new Uint8Array(readFileSync(object))), {
        kernelBtf: kernelBtf(platform),
      }).program('node_ingress'),
  },
];

/** The userspace machine beside the kernel's own test run, on one processor. */
export const machine: Case = {
  name,
  about: 'instructions per second of the userspace machine beside the kernel',
  commands: [],
  sizes: () => [0],
  async measure({ platform }, size, quick) {
    const rows: Row[] = [];
    const rates = new Map<string, number>();
    for (const work of works) {
      const instructions = count(work, platform);
      const times = measure(work, platform, quick ? 9 : 31);
      for (const [engine, ns] of times) {
        const rate = (time: number) => (instructions * 1000) / time;
        rates.set(`${work.name} ${engine}`, rate(median(ns)));
        rows.push({
          ...{ case: name, size, variant: `${work.name}, ${engine}` },
          ...{ p50Us: median(ns) / 1000, ratioToDirect: null, spread: spread(ns) / 1000 },
          ...{ instructions, millionPerSecond: rate(median(ns)) },
          timesKernel: median(ns.map((time, round) => time / times.get('kernel')![round]!)),
        });
      }
    }
    const what = (text: string) => ({ case: name, size, what: text });
    const rate = (work: string, engine: Engine) => rates.get(`${work} ${engine}`)!;
    return {
      rows,
      verdicts: [
        ...works.map(({ name: work }) =>
          verdict(
            what(`${work}, interpreted`),
            rate(work, 'interpreted'),
            { atLeast: 20 },
            ' million/s',
            0,
          ),
        ),
        verdict(
          what('a loop, translated / interpreted'),
          rate('a loop', 'translated') / rate('a loop', 'interpreted'),
          { atLeast: 5 },
          '',
          1,
        ),
      ],
      notes: [],
    };
  },
};

function count({ data, load }: Work, platform: Platform): number {
  const bpf = new VmBpf({ budget });
  let instructions = 0;
  bpf.machine.observer = () => instructions++;
  load(bpf, platform).testRun({ data });
  return instructions;
}

/** Nanoseconds of a run, by engine and round; the engines take turns. */
function measure({ data, repeat, load }: Work, platform: Platform, rounds: number) {
  const lanes = Object.entries(engines).map(([engine, make]) => ({
    engine: engine as Engine,
    program: load(make(platform), platform),
    times: [] as number[],
  }));
  for (let round = -2; round < rounds; round++) {
    for (const { program, times } of lanes) {
      const start = platform.monotonicNs();
      program.testRun({ data, repeat });
      const time = Number(platform.monotonicNs() - start) / repeat;
      // The first rounds are for the compilers.
      if (round >= 0) times.push(time);
    }
  }
  return new Map(lanes.map(({ engine, times }) => [engine, times]));
}
