import type { Codec } from './codec.ts';
import type { BpfMap } from './map.ts';
import type { BpfProgram } from './program.ts';
import type { VariableSpec } from './spec.ts';
import { TypedMap } from './typed-map.ts';

/** Maps and programs of a loaded object. Disposal closes those that the loader made. */
export class LoadedObject implements Disposable {
  readonly #maps = new Map<string, BpfMap>();
  readonly #programs = new Map<string, BpfProgram>();
  readonly #owned: Disposable[] = [];
  /** The offsets of global variables in the maps of the data sections. */
  readonly variables: ReadonlyMap<string, VariableSpec>;

  constructor(variables: ReadonlyMap<string, VariableSpec>) {
    this.variables = variables;
  }

  get maps(): ReadonlyMap<string, BpfMap> {
    return this.#maps;
  }

  get programs(): ReadonlyMap<string, BpfProgram> {
    return this.#programs;
  }

  /** Returns a map. Throws Error when the object has none of that name. */
  map(name: string): BpfMap {
    const map = this.#maps.get(name);
    if (!map) throw missing('map', name, this.#maps);
    return map;
  }

  /**
   * Returns a map with keys and values as TypeScript's types. Throws Error when the object has no such
   * map, and Incompatible when the codecs have other sizes than the map.
   */
  typedMap<Key, Value>(name: string, key: Codec<Key>, value: Codec<Value>): TypedMap<Key, Value> {
    return new TypedMap(this.map(name), key, value);
  }

  /** Returns a program. Throws Error when none of that name was loaded. */
  program(name: string): BpfProgram {
    const program = this.#programs.get(name);
    if (!program) throw missing('program', name, this.#programs);
    return program;
  }

  /** Adds a map; the loader calls this. A map that isn't `owned` stays open when this is disposed. */
  addMap(name: string, map: BpfMap, owned: boolean): void {
    this.#maps.set(name, map);
    if (owned) this.#owned.push(map);
  }

  /** Adds a program; the loader calls this. */
  add(program: BpfProgram): void {
    this.#programs.set(program.name, program);
    this.#owned.push(program);
  }

  [Symbol.dispose](): void {
    for (const held of this.#owned) held[Symbol.dispose]();
  }
}

function missing(kind: string, name: string, known: ReadonlyMap<string, unknown>): Error {
  const names = [...known.keys()].join(', ') || 'none';
  return new Error(`find ${kind} ${name}: the object has no such ${kind} (it has ${names})`);
}
