import { type ObjectChange, ObjectReader, type ObjectRef } from '@heddle/objects';
import type { FeatureDefinition } from './feature.ts';
import { ManifestSet } from './source/manifest-set.ts';
import type { SourceProblem } from './source/source.ts';

/** The result of checking a folder of manifests. */
export interface ManifestReport {
  /** The number of usable objects by kind. */
  readonly objects: Readonly<Record<string, number>>;
  /** The number of rows that would be programmed. */
  readonly rows: number;
  /** Whatever would not be programmed as it is written, by file and line. */
  readonly problems: readonly SourceProblem[];
  /** Notes about objects of kinds that no feature reads. */
  readonly notes: readonly SourceProblem[];
}

/**
 * Reads manifests as the agent does, without a node or a kernel. The report has what the agent would report,
 * conflicts between objects included.
 */
export function validateManifests(
  features: readonly Pick<FeatureDefinition<never>, 'kinds' | 'validate'>[],
  files: Iterable<{ readonly name: string; readonly bytes: Uint8Array }>,
): ManifestReport {
  const kinds = [...new Set(features.flatMap((feature) => feature.kinds))];
  const reader = new ObjectReader(kinds);
  const set = new ManifestSet(reader);
  const notes: SourceProblem[] = [];
  for (const { name, bytes } of files) {
    set.accept(name, set.parse(name, bytes));
    notes.push(...set.notes(name));
  }
  const changes = set.takeChanges();
  const objects = Object.fromEntries(kinds.map(({ name }) => [name, 0]));
  for (const change of changes) if (change.op === 'set') objects[change.object.kind]!++;
  const problems = set.problems();
  let rows = 0;
  for (const { kinds: own, validate } of features) {
    if (!validate) continue;
    const names = new Set(own.map(({ name }) => name));
    const result = validate(changes.filter((change) => names.has(refOf(change).kind)));
    rows += result.rows;
    for (const { object, message } of result.problems) {
      problems.push({ ...set.locate(object)!, message: `${reader.label(object)}: ${message}` });
    }
  }
  problems.sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : 0) || a.line - b.line);
  return { objects, rows, problems, notes };
}

function refOf(change: ObjectChange): ObjectRef {
  return change.op === 'set' ? change.object : change;
}
