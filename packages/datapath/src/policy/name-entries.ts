import type { KeyedMap } from '../core/keyed-map.ts';
import { NoRoom } from '../core/keyed-map.ts';
import type { ArrayMemory } from '../core/mapped-array.ts';
import {
  decodeDnsName,
  decodeDnsNameClass,
  dnsNameClassSize,
  dnsNameSize,
  dnsStateSize,
  encodeDnsName,
  encodeDnsNameClass,
  encodeDnsState,
} from '../generated/abi.ts';
import { nameKey, nameOf } from './name-key.ts';

/**
 * An address counts as one of a name for as long as the answer says, but for a minute at least, as applications keep
 * addresses for longer than they should, and for a day at most.
 */
const seconds = { least: 60, most: 86_400 } as const;

/** The maps of names; see bpf/abi/dns.h. */
export interface NameMaps {
  readonly names: KeyedMap;
  readonly classes: ArrayMemory;
  readonly state: ArrayMemory;
  readonly resolvers: KeyedMap;
}

/**
 * The maps `policy_names` and `name_classes`: the vectors of names. A place of `name_classes` gets a new generation with each
 * use, so that addresses of an earlier name no longer count.
 */
export class NameEntries {
  readonly #maps: NameMaps;
  readonly #places = new Map<string, number>();
  readonly #used = new Set<number>();
  /** All places below it are used. */
  #lowest = 0;

  constructor(maps: NameMaps) {
    this.#maps = maps;
  }

  /** Returns what an earlier agent has written: names with their vectors. Throws SysError. */
  *read(): Generator<readonly [name: string, vector: number]> {
    for (const [key, value] of this.#maps.names.entries()) {
      const { index, generation } = decodeDnsName(value);
      const name = nameOf(key);
      if (index >= this.#maps.classes.length) continue;
      const place = this.#at(index);
      if (place.generation !== generation) continue;
      this.#enter(name, index);
      yield [name, place.class];
    }
  }

  get size(): number {
    return this.#places.size;
  }

  /** Returns a sentence if there is no room for one more name. */
  full(): string | undefined {
    const { length } = this.#maps.classes;
    if (this.#places.size < length) return undefined;
    return new NoRoom('policy_names', length, 'sizes.policyNames').message;
  }

  /** Writes the vector of a name. Throws SysError. */
  write(name: string, vector: number): void {
    const known = this.#places.get(name);
    if (known !== undefined) {
      this.#set(known, vector, this.#at(known).generation);
      return;
    }
    while (this.#used.has(this.#lowest)) this.#lowest++;
    const index = this.#lowest;
    const generation = (this.#at(index).generation + 1) & 0xffff;
    this.#set(index, vector, generation);
    const value = new Uint8Array(dnsNameSize);
    encodeDnsName({ index, generation }, value);
    this.#maps.names.update(nameKey(name), value);
    this.#enter(name, index);
    this.#count();
  }

  /** Deletes a name. Throws SysError. */
  delete(name: string): void {
    const index = this.#places.get(name);
    if (index === undefined) return;
    this.#maps.names.delete(nameKey(name));
    this.#set(index, 0, this.#at(index).generation);
    this.#places.delete(name);
    this.#used.delete(index);
    this.#lowest = Math.min(this.#lowest, index);
    this.#count();
  }

  #enter(name: string, index: number): void {
    this.#places.set(name, index);
    this.#used.add(index);
  }

  #at(index: number) {
    return decodeDnsNameClass(this.#maps.classes.first(index + 1), index * dnsNameClassSize);
  }

  /** Writes a place as one word, because programs read it meanwhile. */
  #set(index: number, vector: number, generation: number): void {
    const bytes = new Uint8Array(dnsNameClassSize);
    encodeDnsNameClass({ class: vector, generation, reserved: 0 }, bytes);
    const memory = this.#maps.classes.first(index + 1);
    const words = new BigUint64Array(memory.buffer, memory.byteOffset, index + 1);
    words[index] = new BigUint64Array(bytes.buffer)[0]!;
    this.#maps.classes.wrote(index * dnsNameClassSize, dnsNameClassSize);
  }

  #count(): void {
    const { least: minSeconds, most: maxSeconds } = seconds;
    const bytes = new Uint8Array(dnsStateSize);
    encodeDnsState({ names: this.#places.size, minSeconds, maxSeconds, reserved: 0 }, bytes);
    this.#maps.state.first(1).set(bytes);
    this.#maps.state.wrote(0, dnsStateSize);
  }
}
