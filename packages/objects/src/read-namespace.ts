import { readDenyResponse, readPolicyMode } from './annotations.ts';
import { readLabels } from './labels.ts';
import { ownText } from './memory.ts';
import { PartProblems } from './part-problems.ts';
import type { NamespaceRecord } from './policy-records.ts';
import type { NamespaceObject } from './policy-schema.ts';

/** Returns the record of a Namespace. */
export function readNamespace({ metadata }: NamespaceObject): NamespaceRecord {
  const { name, labels, annotations } = metadata;
  const problems = new PartProblems();
  return {
    kind: 'namespace',
    namespace: '',
    name: ownText(name),
    // The API server sets the label; manifests do not have it.
    labels: readLabels({ ...labels, 'kubernetes.io/metadata.name': name }),
    isAudited: readPolicyMode(annotations, problems),
    ...readDenyResponse(annotations, problems),
    problems: problems.sentences,
  };
}
