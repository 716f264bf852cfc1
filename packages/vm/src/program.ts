import type { ProgramPlace, SourceLine } from './fault.ts';
import type { Machine } from './machine.ts';
import type { VmMap } from './maps/map.ts';
import type { Translated } from './translator.ts';

/** A helper or kernel function: takes r1 to r5, leaves its result in r0. */
export type Helper = (machine: Machine) => void;

/** A program that is ready to run. */
export interface Program {
  readonly name: string;
  readonly section: string | undefined;
  /** BPF_PROG_TYPE_* and BPF_* attach type. */
  readonly type: number;
  readonly attachType: number;
  /** Four words for each slot; see instructions.ts. */
  readonly code: Int32Array;
  /** What its call instructions call, by their immediate. */
  readonly calls: readonly Helper[];
  readonly maps: readonly VmMap[];
  /** What keeps it loaded, for whoever wants to run it later. */
  object?: { retain(): unknown; release(): void };
  /** Region of pointers to its functions; 0: it makes none. */
  readonly codeRegion: number;
  /** How often one of its functions was run, and what they were translated to. */
  runs: number;
  translated?: ReadonlyMap<number, Translated>;
  /** Source line of each slot's instruction. */
  readonly sourceOf: (slot: number) => SourceLine | undefined;
}

export function placeOf(program: Program, slot: number): ProgramPlace {
  const { name, section } = program;
  return { program: name, section, instruction: slot, source: program.sourceOf(slot) };
}
