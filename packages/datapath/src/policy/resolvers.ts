import { parseIp } from '@heddle/sys';
import { type KeyedMap, keyText, wordBytes } from '../core/keyed-map.ts';

/** The map `dns_resolvers`: the name servers whose answers count. */
export class Resolvers {
  readonly #map: KeyedMap;
  readonly #written: Map<string, Uint8Array>;

  /** Takes over what an earlier agent has written. Throws SysError. */
  constructor(map: KeyedMap) {
    this.#map = map;
    this.#written = new Map(Array.from(map.entries(), ([key]) => [keyText(key), key.slice()]));
  }

  /** Writes these addresses in place of others, as many as the map has room for. Throws SysError. */
  set(addresses: Iterable<string>): void {
    const wanted = new Map<string, Uint8Array>();
    for (const address of addresses) {
      const bytes = parseIp(address)!;
      if (wanted.size < this.#map.info.maxEntries) wanted.set(keyText(bytes), bytes);
    }
    for (const [text, key] of this.#written) {
      if (wanted.has(text)) continue;
      this.#map.delete(key);
      this.#written.delete(text);
    }
    for (const [text, key] of wanted) {
      if (this.#written.has(text)) continue;
      this.#map.update(key, wordBytes(1));
      this.#written.set(text, key);
    }
  }
}
