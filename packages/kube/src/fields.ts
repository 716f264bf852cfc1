import { encodeUtf8 } from '@heddle/sys';

/**
 * The selected part of a JSON value: all of it, or these keys of a map, each with the selected part of its
 * value. The selection of a list is that of each of its items. Numbers, strings and other simple values are
 * always selected.
 */
export type Fields = true | { readonly [name: string]: Fields };

/** Returns the union of two selections. */
export function mergeFields(a: Fields, b: Fields): Fields {
  if (a === true || b === true) return true;
  const merged: Record<string, Fields> = { ...a };
  for (const [name, fields] of Object.entries(b)) {
    assign(merged, name, Object.hasOwn(a, name) ? mergeFields(a[name]!, fields) : fields);
  }
  return merged;
}

/** The selected fields, arranged so that a parser can compare an object's keys as bytes. */
export interface Selection {
  /** The fields by the length of their key in bytes. */
  readonly byLength: readonly (readonly SelectedKey[] | undefined)[];
}

export interface SelectedKey {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly selection: Selection | undefined;
}

const selections = new WeakMap<object, Selection>();

/** Returns the same object for the same fields. */
export function selectionOf(fields: Fields): Selection | undefined {
  if (fields === true) return undefined;
  const known = selections.get(fields);
  if (known) return known;
  const byLength: SelectedKey[][] = [];
  for (const [name, inner] of Object.entries(fields)) {
    const bytes = encodeUtf8(name);
    byLength[bytes.length] ??= [];
    byLength[bytes.length]!.push({ name, bytes, selection: selectionOf(inner) });
  }
  const selection = { byLength };
  selections.set(fields, selection);
  return selection;
}

/** Sets any key of a map. */
export function assign(map: Record<string, unknown>, key: string, value: unknown): void {
  // An assignment to this key would set the prototype.
  if (key === '__proto__') {
    Object.defineProperty(map, key, {
      value,
      writable: true,
      enumerable: true,
      configurable: true,
    });
  } else map[key] = value;
}
