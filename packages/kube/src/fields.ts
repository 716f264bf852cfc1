import { encodeUtf8 } from '@heddle/sys';

/**
 * What of a JSON value is wanted: all of it, or only these keys of a map, each with what is wanted
 * of its value. A list is looked through: the selection holds for each of its items. Numbers, texts
 * and the like are taken as they are, whatever is selected.
 */
export type Fields = true | { readonly [name: string]: Fields };

/** Both selections together. */
export function mergeFields(a: Fields, b: Fields): Fields {
  if (a === true || b === true) return true;
  const merged: Record<string, Fields> = { ...a };
  for (const [name, fields] of Object.entries(b)) {
    assign(merged, name, Object.hasOwn(a, name) ? mergeFields(a[name]!, fields) : fields);
  }
  return merged;
}

/** Fields made ready for comparing keys as bytes. Absent: everything is wanted. */
export interface Selection {
  /** By the length of the key in bytes. */
  readonly byLength: readonly (readonly SelectedKey[] | undefined)[];
}

export interface SelectedKey {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly selection: Selection | undefined;
}

const selections = new WeakMap<object, Selection>();

/** Gives the same object for the same fields. */
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

/** Sets a key of a map, whatever the key is. */
export function assign(map: Record<string, unknown>, key: string, value: unknown): void {
  // A plain assignment would set the prototype.
  if (key === '__proto__') {
    Object.defineProperty(map, key, {
      value,
      writable: true,
      enumerable: true,
      configurable: true,
    });
  } else map[key] = value;
}
