/** The kind of a fault. */
export type FaultKind =
  | 'memory'
  | 'budget'
  | 'call-depth'
  | 'argument'
  | 'unknown-pointer'
  | 'not-simulated';

/** The location of an event in a program. */
export interface ProgramPlace {
  readonly program: string;
  readonly section: string | undefined;
  /** The offset from the start of the program, in 8-byte slots. */
  readonly instruction: number;
  /** The source line from the object's line information; undefined for one that was compiled without -g. */
  readonly source: SourceLine | undefined;
}

/** A line of the source of a program. */
export interface SourceLine {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** The text of the line. */
  readonly text: string;
}

/**
 * A program did something that the kernel's verifier does not let it do, or that this machine does not
 * simulate. The message names the program, the instruction and the source line.
 */
export class VmFault extends Error {
  override readonly name = 'VmFault';
  readonly kind: FaultKind;
  readonly place: ProgramPlace;

  constructor(kind: FaultKind, place: ProgramPlace, what: string) {
    super(`run program ${place.program}: ${what} at ${placeText(place)}`);
    this.kind = kind;
    this.place = place;
  }
}

/** Returns `instruction 17 (socket.bpf.c:123: return x;)`. */
export function placeText({ instruction, source }: ProgramPlace): string {
  if (!source) return `instruction ${instruction}`;
  const file = source.file.slice(source.file.lastIndexOf('/') + 1);
  return `instruction ${instruction} (${file}:${source.line}: ${source.text.trim()})`;
}

/** A program that can't be loaded. The message is what the log of the verifier has. */
export class LoadError extends Error {
  override readonly name = 'LoadError';
}
