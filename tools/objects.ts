// The compiled objects of the project: the paths of sources and objects, and the record of the
// sources of each object. `npm run generate` compiles them with clang. The committed objects are
// used otherwise, and the gate checks that they match the sources.
import { projectFiles, sha256 } from './files.ts';

export interface ObjectSet {
  /** The folder of the sources, `*.bpf.c`. */
  readonly sources: string;
  /** The folder of the objects, `*.o`. */
  readonly objects: string;
}

export const objectSets: readonly ObjectSet[] = [
  { sources: 'bpf', objects: 'packages/datapath/objects' },
  { sources: 'packages/ebpf/testdata', objects: 'packages/ebpf/testdata' },
];

/** The file in the objects' folder that records their sources. */
export const recordName = 'sources.json';

/** Returns the hashes of all C files of a set, headers included, and of its objects. */
export function currentRecord(set: ObjectSet): Record<string, string> {
  const files = [
    ...projectFiles('.c', '.h').filter((file) => file.startsWith(`${set.sources}/`)),
    ...projectFiles('.o').filter((file) => file.startsWith(`${set.objects}/`)),
  ];
  return Object.fromEntries(files.map((file) => [file, sha256(file)]));
}

/** Returns the sources of a set that are compiled to objects. */
export function compiledSources(set: ObjectSet): string[] {
  return projectFiles('.bpf.c').filter((file) => file.startsWith(`${set.sources}/`));
}
