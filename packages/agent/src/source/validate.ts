import { type ObjectKind, objectLabel } from '@heddle/objects';
import { ServiceModel } from '@heddle/services';
import { ManifestSet } from './manifest-set.ts';
import type { SourceProblem } from './source.ts';

/** What a folder of manifests comes to. */
export interface ManifestReport {
  /** How many usable objects there are. */
  readonly objects: Readonly<Record<ObjectKind, number>>;
  /** Service rows that would be in force. */
  readonly rows: number;
  /** What would not be in force as it is written, by file and line. */
  readonly problems: readonly SourceProblem[];
  /** Objects of kinds that Heddle doesn't serve. */
  readonly notes: readonly SourceProblem[];
}

/**
 * Reads manifests as the agent does, without a node or a kernel: what it would report, including
 * refused externalIPs and frontends that two services ask for.
 */
export function validateManifests(
  files: Iterable<{ readonly name: string; readonly bytes: Uint8Array }>,
): ManifestReport {
  const set = new ManifestSet();
  const notes: SourceProblem[] = [];
  for (const { name, bytes } of files) {
    set.accept(name, set.parse(name, bytes));
    notes.push(...set.notes(name));
  }
  const changes = set.takeChanges();
  const objects = { service: 0, slice: 0, node: 0, pod: 0 };
  for (const change of changes) if (change.op === 'set') objects[change.object.kind]++;
  const model = new ServiceModel({ nodeName: '', ownAddresses: [] });
  const { upserted } = model.apply(changes);
  // The ports of a service repeat what is wrong with the service as a whole.
  const said = new Map<string, SourceProblem>();
  for (const { namespace, name, problems } of upserted) {
    const label = objectLabel({ kind: 'service', namespace, name });
    for (const problem of problems) {
      const message = `${label}: ${problem}`;
      said.set(message, { ...set.locate(label)!, message });
    }
  }
  const problems = [...set.problems(), ...said.values()].sort(
    (a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : 0) || a.line - b.line,
  );
  return { objects, rows: upserted.length, problems, notes };
}
