import { ownText } from '@heddle/sys';

// What V8 keeps beside the content, of texts (see ownText) and of arrays (one that grew has room for
// 16 more), is most of the memory for a hundred thousand records that live as long as the agent.

export { ownText };

const shared = new Map<string, string>();
const mostShared = 10_000;

/** One copy for all equal texts; for names that many objects share, such as namespaces and nodes. */
export function sharedText<Text extends string>(text: Text): Text {
  const known = shared.get(text);
  if (known !== undefined) return known as Text;
  // What is shared is not known to be gone; forgetting all now and then costs little.
  if (shared.size >= mostShared) shared.clear();
  const own = ownText(text);
  shared.set(own, own);
  return own as Text;
}

const none: readonly never[] = [];

/** The same list without room to grow; all empty lists are one. */
export function compactList<T>(list: readonly T[]): readonly T[] {
  return list.length === 0 ? none : list.slice();
}
