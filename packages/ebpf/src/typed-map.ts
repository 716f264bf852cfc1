import type { Codec } from './codec.ts';
import { Incompatible } from './errors.ts';
import type { BpfMap, UpdateMode } from './map.ts';

/** A view of a map with keys and values as TypeScript's types. The map stays open and the caller's. */
export class TypedMap<Key, Value> {
  readonly map: BpfMap;
  readonly #key: Codec<Key>;
  readonly #value: Codec<Value>;

  /** Throws Incompatible when the codecs have other sizes than the map. */
  constructor(map: BpfMap, key: Codec<Key>, value: Codec<Value>) {
    const differences: string[] = [];
    const compare = (what: string, is: number, should: number) => {
      if (is !== should) differences.push(`${what} has ${is} bytes, the codec ${should}`);
    };
    compare('a key', map.info.keySize, key.size);
    compare('a value', map.valueBytes, value.size);
    if (differences.length > 0) throw new Incompatible(`map ${map.info.name}`, differences);
    this.map = map;
    this.#key = key;
    this.#value = value;
  }

  /** Returns the value, or undefined when there is no such element. Throws SysError. */
  lookup(key: Key): Value | undefined {
    const found = this.map.lookup(encoded(this.#key, key));
    return found && this.#value.decode(found);
  }

  /** Writes an element. Throws KeyExists, KeyNotFound, MapFull or another SysError. */
  update(key: Key, value: Value, mode?: UpdateMode): void {
    this.map.update(encoded(this.#key, key), encoded(this.#value, value), mode);
  }

  /** Removes an element and returns whether it existed. Throws SysError. */
  delete(key: Key): boolean {
    return this.map.delete(encoded(this.#key, key));
  }

  /** Returns all elements as [key, value], in the kernel's order; see BpfMap.entries. */
  *entries(): Generator<[key: Key, value: Value]> {
    for (const [key, value] of this.map.entries()) {
      yield [this.#key.decode(key), this.#value.decode(value)];
    }
  }
}

function encoded<Type>(codec: Codec<Type>, value: Type): Uint8Array {
  const bytes = new Uint8Array(codec.size);
  codec.encode(value, bytes);
  return bytes;
}
