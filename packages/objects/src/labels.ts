import { sharedText } from './memory.ts';

/**
 * The labels of an object: keys and values in turn, sorted by key. Objects with the same labels mostly share one
 * list, because a hundred thousand pods have far fewer sets of labels; compare them by content all the same.
 */
export type Labels = readonly string[];

/** Returns the value of a label, or undefined if the object does not have it. */
export function labelValue(labels: Labels, key: string): string | undefined {
  for (let i = 0; i < labels.length; i += 2) if (labels[i] === key) return labels[i + 1];
  return undefined;
}

const shared = new Map<string, Labels>();
const maxShared = 10_000;
const none: Labels = [];

/** Returns the labels of an object's metadata, mostly as the list that equal labels share. */
export function readLabels(map: Readonly<Record<string, string>> | null | undefined): Labels {
  const keys = Object.keys(map ?? {});
  if (keys.length === 0) return none;
  keys.sort();
  const labels: string[] = new Array(keys.length * 2);
  for (const [i, key] of keys.entries()) {
    labels[2 * i] = key;
    labels[2 * i + 1] = map![key]!;
  }
  // Neither keys nor values of labels have line breaks.
  const text = labels.join('\n');
  const existing = shared.get(text);
  if (existing !== undefined) return existing;
  // As for shared texts: nothing reports when labels are no longer used, so all are dropped now and then.
  if (shared.size >= maxShared) shared.clear();
  const own: Labels = labels.map(sharedText);
  shared.set(text, own);
  return own;
}
