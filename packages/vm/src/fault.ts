/** What went wrong, for those who tell kinds apart; the message says it to people. */
export type FaultKind =
  | 'memory'
  | 'budget'
  | 'call-depth'
  | 'argument'
  | 'unknown-pointer'
  | 'not-simulated';

/** Where in a program something happened. */
export interface ProgramPlace {
  readonly program: string;
  readonly section: string | undefined;
  /** Counts 8-byte slots from the program's start. */
  readonly instruction: number;
  /** From the object's line information; undefined when it was compiled without -g. */
  readonly source: SourceLine | undefined;
}

export interface SourceLine {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** The line itself. */
  readonly text: string;
}

/**
 * A program did what the kernel's verifier would have kept it from doing, or what this machine does
 * not simulate. The message names the program, the instruction and the source line.
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

/** `instruction 17 (socket.bpf.c:123: return x;)` */
export function placeText({ instruction, source }: ProgramPlace): string {
  if (!source) return `instruction ${instruction}`;
  const file = source.file.slice(source.file.lastIndexOf('/') + 1);
  return `instruction ${instruction} (${file}:${source.line}: ${source.text.trim()})`;
}

/** A program that can't be loaded: what the kernel's verifier would say in its log. */
export class LoadError extends Error {
  override readonly name = 'LoadError';
}
