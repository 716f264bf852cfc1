import type { Btf } from './btf.ts';

/**
 * The content of an object file, independent of the kernel: the same bytes give the same Spec on any
 * host. Specs are plain data. Callers may change a copy before they load it (sizes, variables).
 */
export interface ObjectSpec {
  readonly license: string;
  /** BTF of the object; absent when it was compiled without -g. */
  readonly btf: Btf | undefined;
  readonly programs: ReadonlyMap<string, ProgramSpec>;
  /** Maps by name, with data sections (`.rodata`, `.data`, `.bss`, also with suffixes). */
  readonly maps: ReadonlyMap<string, MapSpec>;
  /** Global variables by name. */
  readonly variables: ReadonlyMap<string, VariableSpec>;
}

/** A map of an object file. */
export interface MapSpec {
  /** The name in the source. The kernel keeps 15 bytes of it. */
  readonly name: string;
  /** BPF_MAP_TYPE_* (linux/bpf.h). */
  readonly type: number;
  /** Bytes. */
  readonly keySize: number;
  /** Bytes. */
  readonly valueSize: number;
  readonly maxEntries: number;
  /** BPF_F_*. */
  readonly flags: number;
  /** Type ids in the object's BTF; 0 when unknown. */
  readonly keyTypeId: number;
  readonly valueTypeId: number;
  /** The map's `map_extra`. */
  readonly extra: bigint;
  /** True if the source has LIBBPF_PIN_BY_NAME. */
  readonly pinByName: boolean;
  /** Properties of the members of a map of maps. */
  readonly inner: MapSpec | undefined;
  /** Elements that the source's `values` lists: maps of a map of maps, programs of a program array. */
  readonly initial?: readonly InitialElement[];
  /** The initial bytes of a data section. */
  readonly contents: Uint8Array | undefined;
  /** True if the map is `.rodata`, which is frozen once it has its contents. */
  readonly readOnly: boolean;
}

/** An element of a map of maps or a program array that the source lists. */
export interface InitialElement {
  readonly index: number;
  /** Name of a map or program of the same object. */
  readonly name: string;
}

/** A global variable: its bytes in the map of a data section. */
export interface VariableSpec {
  readonly name: string;
  /** Name of the data section's map. */
  readonly map: string;
  readonly offset: number;
  readonly size: number;
}

/** A program of an object file. */
export interface ProgramSpec {
  readonly name: string;
  /** ELF section, e.g. `cgroup/connect4`. */
  readonly section: string;
  /** BPF_PROG_TYPE_* derived from the section name. */
  readonly type: number;
  /** BPF_* attach type derived from the section name, or 0. */
  readonly attachType: number;
  /** The target in the section's name: a kernel function, an iterator's target. */
  readonly attachTo: string | undefined;
  /** BPF_F_* for loading (sleepable, xdp frags). */
  readonly flags: number;
  /**
   * The program and the subprograms that it calls, as one sequence of 8-byte instructions. Calls between
   * them are resolved; `references` has all others.
   */
  readonly instructions: Uint8Array;
  readonly references: readonly Reference[];
  readonly relocations: readonly CoreRelocation[];
  /** BTF func_info and line_info. Offsets of instructions are in units of 8 bytes from the start. */
  readonly functions: readonly FunctionInfo[];
  readonly lines: readonly LineInfo[];
}

/** An instruction that must be completed when the program is loaded. `at` counts 8-byte slots. */
export type Reference =
  | { readonly kind: 'map'; readonly at: number; readonly map: string }
  /** Address of byte `offset` in a data section's map. */
  | { readonly kind: 'data'; readonly at: number; readonly map: string; readonly offset: number }
  /**
   * Address of a subprogram of the same program; `target` counts 8-byte slots. The kernel expects
   * BPF_PSEUDO_FUNC and, as for a call, the distance from the slot after `at`: `target - at - 1`.
   */
  | { readonly kind: 'function'; readonly at: number; readonly target: number }
  | { readonly kind: 'kfunc'; readonly at: number; readonly name: string; readonly weak: boolean }
  /**
   * Address of a kernel symbol: a variable (`extern const ... __ksym`; with type void, one that only
   * /proc/kallsyms has), or a kfunc for which the program tests. It is 0 if weak and missing.
   */
  | { readonly kind: 'ksym'; readonly at: number; readonly name: string; readonly weak: boolean };

/** One record of `.BTF.ext`'s CO-RE section. `kind` is BPF_CORE_* (0 to 12). */
export interface CoreRelocation {
  readonly at: number;
  readonly typeId: number;
  /** Colon-separated indices, e.g. `0:1:2`. */
  readonly access: string;
  readonly kind: number;
}

/** The BTF type of a subprogram that starts at an instruction. */
export interface FunctionInfo {
  readonly at: number;
  readonly typeId: number;
}

/** The source line from which instructions were compiled. */
export interface LineInfo {
  readonly at: number;
  readonly file: string;
  readonly text: string;
  readonly line: number;
  readonly column: number;
  /** Offsets of these strings in the object's BTF. */
  readonly fileOffset: number;
  readonly textOffset: number;
}
