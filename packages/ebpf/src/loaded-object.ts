import type { BpfMap } from './map.ts';
import type { BpfProgram } from './program.ts';
import type { VariableSpec } from './spec.ts';

/** Maps and programs of a loaded object. Disposal closes what the loader made. */
export class LoadedObject implements Disposable {
  readonly #maps = new Map<string, BpfMap>();
  readonly #programs = new Map<string, BpfProgram>();
  readonly #owned: Disposable[] = [];
  /** Where global variables lie in the maps of the data sections. */
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

  /** Throws Error when the object has no such map. */
  map(name: string): BpfMap {
    const map = this.#maps.get(name);
    if (!map) throw new Error(`find map ${name}: the object has no such map`);
    return map;
  }

  /** Throws Error when no such program was loaded. */
  program(name: string): BpfProgram {
    const program = this.#programs.get(name);
    if (!program) throw new Error(`find program ${name}: no such program was loaded`);
    return program;
  }

  /** For the loader. A map that isn't `owned` stays open when this is disposed. */
  addMap(name: string, map: BpfMap, owned: boolean): void {
    this.#maps.set(name, map);
    if (owned) this.#owned.push(map);
  }

  /** For the loader. */
  add(program: BpfProgram): void {
    this.#programs.set(program.name, program);
    this.#owned.push(program);
  }

  [Symbol.dispose](): void {
    for (const held of this.#owned) held[Symbol.dispose]();
  }
}
