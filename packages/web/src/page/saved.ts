const key = 'heddle.filters';

/** Returns the filters that the reader keeps in this browser. */
export function readSaved(): readonly string[] {
  try {
    const read: unknown = JSON.parse(localStorage.getItem(key) ?? '[]');
    return Array.isArray(read) ? read.filter((each) => typeof each === 'string') : [];
  } catch {
    // Another page of the same origin may have left something else there.
    return [];
  }
}

/** Keeps a filter or lets it go; returns those that are kept then, 50 at most. */
export function toggleSaved(filter: string): readonly string[] {
  const saved = readSaved();
  const next = saved.includes(filter)
    ? saved.filter((each) => each !== filter)
    : [filter, ...saved].slice(0, 50);
  localStorage.setItem(key, JSON.stringify(next));
  return next;
}
