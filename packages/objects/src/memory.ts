import { ownText } from '@heddle/sys/internal';

// V8 keeps more than the content of texts (see ownText) and of arrays (one that grew has room for
// 16 more items). With a hundred thousand records that live as long as the agent, that overhead is
// most of the memory.

export { ownText };

const shared = new Map<string, string>();
const maxShared = 10_000;

/**
 * Returns one shared copy for all equal texts. Meant for names that many objects share, such as
 * namespaces.
 */
export function sharedText<Text extends string>(text: Text): Text {
  const existing = shared.get(text);
  if (existing !== undefined) return existing as Text;
  // Nothing reports when a shared text is no longer used, so all are dropped now and then.
  if (shared.size >= maxShared) shared.clear();
  const own = ownText(text);
  shared.set(own, own);
  return own as Text;
}

const none: readonly never[] = [];

/** Returns a copy of the list without unused capacity. All empty lists are one object. */
export function compactList<T>(list: readonly T[]): readonly T[] {
  return list.length === 0 ? none : list.slice();
}
