import type { ProgramPlace, SourceLine } from './fault.ts';
import type { Machine } from './machine.ts';
import type { VmMap } from './maps/map.ts';
import type { Translated } from './translator.ts';

/** A helper or kernel function: it reads r1 to r5 and writes its result to r0. */
export type Helper = (machine: Machine) => void;

/** A program that is prepared for the machine. */
export interface Program {
  readonly name: string;
  readonly section: string | undefined;
  /** BPF_PROG_TYPE_* and BPF_* attach type. */
  readonly type: number;
  readonly attachType: number;
  /** Four words for each slot; see instructions.ts. */
  readonly code: Int32Array;
  /** The functions that its instructions call, by their immediate. */
  readonly calls: readonly Helper[];
  readonly maps: readonly VmMap[];
  /** The reference that keeps it loaded until a later run. */
  object?: { retain(): unknown; release(): void };
  /** The region of pointers to its functions; 0: there are none. */
  readonly codeRegion: number;
  /** The number of runs of its functions, and their translations. */
  runs: number;
  translated?: ReadonlyMap<number, Translated>;
  /** The source lines of its instructions. */
  readonly sourceOf: (slot: number) => SourceLine | undefined;
}

export function placeOf(program: Program, slot: number): ProgramPlace {
  const { name, section } = program;
  return { program: name, section, instruction: slot, source: program.sourceOf(slot) };
}
