// The compiled programs of the project: the paths of sources and results, and the record of the
// sources of each result. `npm run generate` compiles them with clang. The committed results are
// used otherwise, and the gate checks that they match the sources.
import { basename } from 'node:path';
import { bpfArguments, executableArguments } from './clang.ts';
import { projectFiles, sha256 } from './files.ts';

/** A result of the compiler. */
export interface Compiled {
  readonly file: string;
  readonly source: string;
  /** The arguments of the compiler, but for the source, the result, and `link`. */
  readonly compile: readonly string[];
  /** The arguments that matter only when a result is written. */
  readonly link: readonly string[];
}

export interface ObjectSet {
  /** The folder of the sources, headers included. */
  readonly sources: string;
  /** The folder of the results, `.o` or `.elf`, and of their record. */
  readonly objects: string;
  /** Returns the results and how they are made. */
  readonly compiled: () => Compiled[];
}

/** Returns the set of the BPF objects `*.o` whose sources `*.bpf.c` are in one folder. */
function bpfSet(sources: string, objects: string): ObjectSet {
  const files = () => projectFiles('.bpf.c').filter((file) => file.startsWith(`${sources}/`));
  return {
    ...{ sources, objects },
    compiled: () =>
      files().map((source) => ({
        ...{ source, file: `${objects}/${basename(source, '.bpf.c')}.o` },
        ...{ compile: bpfArguments(sources), link: ['-c'] },
      })),
  };
}

/** The CNI plug-in: a static executable for each architecture. */
const cniPlugin: ObjectSet = {
  sources: 'cni',
  objects: 'packages/assets/cni',
  compiled: () =>
    (['x64', 'arm64'] as const).map((arch) => ({
      ...{ source: 'cni/heddle-cni.c', file: `packages/assets/cni/${arch}.elf` },
      ...executableArguments(arch),
    })),
};

export const objectSets: readonly ObjectSet[] = [
  bpfSet('bpf', 'packages/datapath/objects'),
  bpfSet('packages/ebpf/testdata', 'packages/ebpf/testdata'),
  cniPlugin,
];

/** The file in the results' folder that records their sources. */
export const recordName = 'sources.json';

/** Returns the hashes of all C files of a set, headers included, and of its results. */
export function currentRecord(set: ObjectSet): Record<string, string> {
  const files = [
    ...projectFiles('.c', '.h').filter((file) => file.startsWith(`${set.sources}/`)),
    ...projectFiles('.o', '.elf').filter((file) => file.startsWith(`${set.objects}/`)),
  ];
  return Object.fromEntries(files.map((file) => [file, sha256(file)]));
}
