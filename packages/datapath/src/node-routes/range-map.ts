import { parseCidr, SysError } from '@heddle/sys';
import { type KeyedMap, keyBytes, keyText, NoRoom } from '../core/keyed-map.ts';
import { encodeRangeKey, rangeKeySize } from '../generated/abi.ts';

/** A map whose keys are ranges of addresses. Entries that an earlier agent left stay until `keep`. */
export class RangeEntries {
  readonly #map: KeyedMap;
  readonly #known = new Map<string, string>();

  constructor(map: KeyedMap) {
    this.#map = map;
    for (const [key, value] of map.entries()) this.#known.set(keyText(key), keyText(value));
  }

  /** The number of entries. */
  get size(): number {
    return this.#known.size;
  }

  /** Writes the value of a range. Throws NoRoom, SysError. */
  set(range: string, value: Uint8Array): void {
    const key = keyOf(range);
    const [name, text] = [keyText(key), keyText(value)];
    if (this.#known.get(name) === text) return;
    try {
      this.#map.update(key, value);
    } catch (error) {
      // A trie reports ENOSPC where hash maps report E2BIG.
      if (!(error instanceof SysError) || error.code !== 'ENOSPC') throw error;
      const { name: map, maxEntries } = this.#map.info;
      throw new NoRoom(map, maxEntries, 'nothing: it is fixed');
    }
    this.#known.set(name, text);
  }

  /** Deletes the entry of a range; a missing one is fine. Throws SysError. */
  delete(range: string): void {
    this.#delete(keyText(keyOf(range)));
  }

  /** Deletes the entries of all other ranges. Throws SysError. */
  keep(ranges: Iterable<string>): void {
    const kept = new Set(Array.from(ranges, (range) => keyText(keyOf(range))));
    for (const name of [...this.#known.keys()]) if (!kept.has(name)) this.#delete(name);
  }

  #delete(name: string): void {
    if (!this.#known.has(name)) return;
    const key = new Uint8Array(rangeKeySize);
    keyBytes(name, key, 0);
    this.#map.delete(key);
    this.#known.delete(name);
  }
}

function keyOf(range: string): Uint8Array {
  const key = new Uint8Array(rangeKeySize);
  encodeRangeKey(parseCidr(range)!, key);
  return key;
}
