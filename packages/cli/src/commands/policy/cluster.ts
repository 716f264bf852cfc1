import { exitCodes, Failure } from '@heddle/control/failure';
import { ClusterObjects, ToolError } from '@heddle/policy-tools';
import { printLine, styled } from '../../print.ts';
import { readManifests } from './manifests.ts';

/** The options that say where the objects of the cluster are. */
export interface ClusterOptions {
  readonly objects: string;
}

/** Returns the objects of the cluster. Throws Failure. */
export async function openCluster({
  objects,
}: Pick<ClusterOptions, 'objects'>): Promise<ClusterObjects> {
  const { changes, problems } = readManifests(objects, 'read objects');
  for (const { file, line, message } of problems) {
    process.stderr.write(`heddle: ${file}:${line}: ${message}\n`);
  }
  return new ClusterObjects(changes);
}

/** Runs `work`; a question that can't be answered becomes a Failure. */
export function answered<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof ToolError) throw new Failure(exitCodes.failed, error.message);
    throw error;
  }
}

/** Prints what is assumed about objects that are not known. */
export function printAssumptions({ assumedNamespaces, world }: ClusterObjects): void {
  if (assumedNamespaces.length > 0) {
    const names = assumedNamespaces.join(', ');
    printLine(styled('dim', `note: the objects have no Namespace ${names}: labels are not known`));
  }
  if (world.pods.size === 0) {
    printLine(
      styled('dim', 'note: no pods are known, so what selectors match is not checked (--objects)'),
    );
  }
}
