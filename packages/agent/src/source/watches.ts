import { type Kind, type ObjectChange, type ObjectReader, podKind } from '@heddle/objects';

/** The objects of a kind that a feature wants: all, or those that the selectors match. */
export interface Watch {
  readonly kind: Kind;
  /** The namespace of the objects; all namespaces if it is absent. */
  readonly namespace?: string;
  /** Selectors in the API's syntax. A folder has none, so that a feature may get more than it wants. */
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** The API server may not have the kind. */
  readonly mayBeMissing?: boolean;
}

/** The objects that all features together want of a source. */
export interface Demand {
  /** Reads the kinds of all features. */
  readonly reader: ObjectReader;
  /** Returns the watches that the features want now. */
  watches(): readonly Watch[];
  /**
   * Called with each change as it is read, before a batch has it. A feature that sees there that it needs more
   * objects changes its watches, and the first batch waits for these, too.
   */
  observe(change: ObjectChange): void;
  /**
   * Called when everything that is watched was listed once, before the first batch. A feature may change its watches
   * then, too.
   */
  beforeFirst(): void;
}

/** Selects pods but for those of finished jobs, which may remain by the thousand. */
export const unfinished = 'status.phase!=Succeeded,status.phase!=Failed';

/** Returns the watch of the pods of a node. */
export function runningPods(node: string): Watch {
  return { kind: podKind, fieldSelector: `spec.nodeName=${node},${unfinished}` };
}

/** Returns a text that is the same for equal watches only. */
export function watchId(watch: Watch): string {
  const { kind, namespace = '', labelSelector = '', fieldSelector = '' } = watch;
  return [kind.name, namespace, labelSelector, fieldSelector].join('\n');
}

/** Returns the path of the API that has the objects of a watch. */
export function watchedPath({ kind: { path }, namespace }: Watch): string {
  if (namespace === undefined) return path;
  const end = path.lastIndexOf('/');
  return `${path.slice(0, end)}/namespaces/${namespace}${path.slice(end)}`;
}

/**
 * Returns the watches to open, by id: equal ones once, and none whose objects another one brings, too: an agent
 * on each of a thousand nodes would make the API server send these twice.
 */
export function mergedWatches(watches: readonly Watch[]): Map<string, Watch> {
  const merged = new Map<string, Watch>();
  for (const watch of watches) {
    const isContained = watches.some((other) => contains(other, watch));
    if (!isContained) merged.set(watchId(watch), watch);
  }
  return merged;
}

/** Returns true if a watch brings all objects of another, different one. */
function contains(a: Watch, b: Watch): boolean {
  if (a.kind !== b.kind || watchId(a) === watchId(b)) return false;
  const covers = (whole: string | undefined, part: string | undefined) =>
    whole === undefined || whole === part;
  return (
    covers(a.namespace, b.namespace) &&
    covers(a.labelSelector, b.labelSelector) &&
    covers(a.fieldSelector, b.fieldSelector)
  );
}
