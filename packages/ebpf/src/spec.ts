import type { Btf } from './btf.ts';

/**
 * What an object file says, and nothing of the kernel it will meet: the same bytes give the same
 * Spec on any host. Specs are plain data; callers may change a copy before loading (sizes,
 * variables). Turning a Spec into kernel objects is the loader's work.
 */
export interface ObjectSpec {
  readonly license: string;
  /** BTF of the object; absent when it was compiled without -g. */
  readonly btf: Btf | undefined;
  readonly programs: ReadonlyMap<string, ProgramSpec>;
  /** Maps by name, data sections (`.rodata`, `.data`, `.bss` and their suffixed kin) included. */
  readonly maps: ReadonlyMap<string, MapSpec>;
  /** Global variables by name. */
  readonly variables: ReadonlyMap<string, VariableSpec>;
}

export interface MapSpec {
  /** As in the source, up to 15 bytes of it reach the kernel. */
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
  /** BTF type ids within the object's BTF; 0 when unknown. */
  readonly keyTypeId: number;
  readonly valueTypeId: number;
  /** The map's `map_extra`. */
  readonly extra: bigint;
  /** LIBBPF_PIN_BY_NAME in the source. */
  readonly pinByName: boolean;
  /** Of a map-in-map: what its members look like. */
  readonly inner: MapSpec | undefined;
  /** Elements that the source's `values` fills in: maps of a map-in-map, programs of a program array. */
  readonly initial?: readonly InitialElement[];
  /** Of a data section: its initial bytes. Of `.rodata`: frozen after they are written. */
  readonly contents: Uint8Array | undefined;
  readonly readOnly: boolean;
}

export interface InitialElement {
  readonly index: number;
  /** Name of a map or program of the same object. */
  readonly name: string;
}

export interface VariableSpec {
  readonly name: string;
  /** Name of the data section's map. */
  readonly map: string;
  readonly offset: number;
  readonly size: number;
}

export interface ProgramSpec {
  readonly name: string;
  /** ELF section, e.g. `cgroup/connect4`. */
  readonly section: string;
  /** BPF_PROG_TYPE_* derived from the section name. */
  readonly type: number;
  /** BPF_* attach type derived from the section name, or 0. */
  readonly attachType: number;
  /** What the section name says the program is for: a kernel function, an iterator's target. */
  readonly attachTo: string | undefined;
  /** BPF_F_* for loading (sleepable, xdp frags). */
  readonly flags: number;
  /**
   * The program and the subprograms that it calls, in one stretch of 8-byte instructions; calls
   * between them are resolved, references to the outside are in `references`.
   */
  readonly instructions: Uint8Array;
  readonly references: readonly Reference[];
  readonly relocations: readonly CoreRelocation[];
  /** BTF func_info and line_info with instruction offsets in 8-byte units from the start. */
  readonly functions: readonly FunctionInfo[];
  readonly lines: readonly LineInfo[];
}

/** An instruction that must be completed when the program is loaded. `at` counts 8-byte slots. */
export type Reference =
  | { readonly kind: 'map'; readonly at: number; readonly map: string }
  /** Address of byte `offset` in a data section's map. */
  | { readonly kind: 'data'; readonly at: number; readonly map: string; readonly offset: number }
  /**
   * Address of a subprogram in the same stretch; `target` counts 8-byte slots. The kernel wants
   * BPF_PSEUDO_FUNC and, like a call, the distance from the slot after `at`: `target - at - 1`.
   */
  | { readonly kind: 'function'; readonly at: number; readonly target: number }
  | { readonly kind: 'kfunc'; readonly at: number; readonly name: string; readonly weak: boolean }
  /**
   * Address of a kernel symbol: a variable (`extern const ... __ksym`; of type void: one that only
   * /proc/kallsyms knows), or a kfunc whose presence the program tests. Weak and missing: 0.
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

export interface FunctionInfo {
  readonly at: number;
  readonly typeId: number;
}

export interface LineInfo {
  readonly at: number;
  readonly file: string;
  readonly text: string;
  readonly line: number;
  readonly column: number;
  /** String offsets in the object's BTF, as the kernel wants them back. */
  readonly fileOffset: number;
  readonly textOffset: number;
}
