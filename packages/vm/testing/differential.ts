import { type Bpf, BpfMap, programTypes } from '@heddle/ebpf';
import { seededRandom } from '../src/random.ts';
import { RandomProgram, randomMaps, randomPacket } from './random-program.ts';
import { loadText } from './run.ts';

const kinds = {
  tc: { type: programTypes.sched_cls, offsets: { data: 76, dataEnd: 80 } },
  xdp: { type: programTypes.xdp, offsets: { data: 0, dataEnd: 4 } },
} as const;

export interface Disagreement {
  readonly seed: number;
  readonly packet: number;
  readonly what: string;
  readonly source: string;
}

/**
 * Generates a program from a seed, loads it on both sides (first in the kernel, with its verifier), and runs
 * it on random packets in both. Returns the differences of return value, packet and maps.
 */
export function compareOne(
  one: Bpf,
  other: Bpf,
  seed: number,
  packets: number,
): Disagreement | undefined {
  const random = seededRandom(seed);
  const kind = random() % 2 === 0 ? kinds.tc : kinds.xdp;
  const { source } = new RandomProgram(random, kind.offsets);
  using left = new Side(one, source, kind.type);
  using right = new Side(other, source, kind.type);
  for (let packet = 0; packet < packets; packet++) {
    const data = randomPacket(random, 64 + (random() % 64));
    const [a, b] = [left.run(data), right.run(data)];
    if (a !== b) return { seed, packet, what: `${a} is not ${b}`, source };
  }
  const [a, b] = [left.contents(), right.contents()];
  return a === b ? undefined : { seed, packet: packets, what: `${a} is not ${b}`, source };
}

/** A program and its maps on one of the two sides. */
class Side implements Disposable {
  readonly #maps: Readonly<Record<string, BpfMap>>;
  readonly #program: ReturnType<typeof loadText>;

  constructor(bpf: Bpf, source: string, type: number) {
    this.#maps = Object.fromEntries(
      Object.entries(randomMaps).map(([name, spec]) => [name, BpfMap.create(bpf, spec)]),
    );
    this.#program = loadText(bpf, source, this.#maps, type);
  }

  /** Return value, packet and the result, as text. */
  run(data: Uint8Array): string {
    const result = this.#program.testRun({ data });
    return `${result.returnValue} ${hex(result.data)} ${hex(this.#maps.result!.lookup(new Uint8Array(4))!)}`;
  }

  contents(): string {
    return Object.entries(this.#maps)
      .map(([name, map]) => {
        const elements = Array.from(map.entries(), ([key, value]) => `${hex(key)}=${hex(value)}`);
        return `${name}: ${elements.sort().join(' ')}`;
      })
      .join('; ');
  }

  [Symbol.dispose](): void {
    this.#program[Symbol.dispose]();
    for (const map of Object.values(this.#maps)) map[Symbol.dispose]();
  }
}

function hex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}
