// V8 keeps a text that was cut out of another as a window on the whole (from 13 characters on), and
// one that was put together as a tree of its parts; and an array that grew has room for 16 more.
// For a hundred thousand records that live as long as the agent, that is most of the memory.

/** A copy of the text that stands alone: no window on a file, no tree of parts. */
export function ownText(text: string): string {
  if (text.length < 13) return text;
  const units: number[] = [];
  for (let i = 0; i < text.length; i++) units.push(text.charCodeAt(i));
  return String.fromCharCode(...units);
}

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
