// The compiled objects of the project: where their sources and results are, and the record of the
// sources that each was made of. Whoever has clang makes them (`npm run generate`); everybody else
// uses the committed ones, and the gate sees to it that they are of these sources.
import { projectFiles, sha256 } from './files.ts';

export interface ObjectSet {
  /** Folder of the sources, `*.bpf.c`. */
  readonly sources: string;
  /** Folder of the objects, `*.o`. */
  readonly objects: string;
}

export const objectSets: readonly ObjectSet[] = [
  { sources: 'bpf', objects: 'packages/datapath/objects' },
  { sources: 'packages/ebpf/testdata', objects: 'packages/ebpf/testdata' },
];

/** File in the objects' folder that says what they were made of. */
export const recordName = 'sources.json';

/** Hashes of all C files of a set, headers included, and of its objects. */
export function currentRecord(set: ObjectSet): Record<string, string> {
  const files = [
    ...projectFiles('.c', '.h').filter((file) => file.startsWith(`${set.sources}/`)),
    ...projectFiles('.o').filter((file) => file.startsWith(`${set.objects}/`)),
  ];
  return Object.fromEntries(files.map((file) => [file, sha256(file)]));
}

/** Sources of a set that become objects. */
export function compiledSources(set: ObjectSet): string[] {
  return projectFiles('.bpf.c').filter((file) => file.startsWith(`${set.sources}/`));
}
