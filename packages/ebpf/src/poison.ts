import type { Btf } from './btf.ts';
import { corePoison } from './core-patch.ts';
import { describeRelocation } from './core-relocation.ts';
import { VerifierError } from './errors.ts';
import type { ProgramSpec } from './spec.ts';

/**
 * The call of a missing kernel function becomes a call of a helper that no kernel has: the verifier
 * ignores it in dead code and refuses it elsewhere. The helper's number is this one plus the index of
 * the instruction.
 */
export const kfuncPoison = 2_002_000_000;

/**
 * Returns an error that names what the kernel lacks, when the verifier refused the program for a poisoned
 * instruction; otherwise the same error.
 */
export function explainPoison(
  error: VerifierError,
  program: ProgramSpec,
  btf: Btf | undefined,
): VerifierError {
  // E.g. `3: (85) call unknown#195896080`, and on the next line why it is refused.
  const call = /^(\d+): \(85\) call unknown#(\d+)\n(?:invalid|unknown) func/m.exec(error.log);
  if (!call) return error;
  const at = Number(call[1]);
  const lacking = missingAt(program, at, Number(call[2]), btf);
  if (lacking === undefined) return error;
  const source = program.lines.findLast((line) => line.at <= at);
  const where = source ? ` (at "${source.text.trim()} @ ${source.file}:${source.line}")` : '';
  return new VerifierError(
    program.name,
    error.code,
    `it needs ${lacking}, which this kernel lacks${where}`,
    error.log,
    { cause: error },
  );
}

function missingAt(
  program: ProgramSpec,
  at: number,
  poison: number,
  btf: Btf | undefined,
): string | undefined {
  if (poison === corePoison) {
    const relocation = program.relocations.find((candidate) => candidate.at === at);
    return relocation && btf && describeRelocation(relocation, btf);
  }
  const reference = program.references.find(
    (candidate) => candidate.kind === 'kfunc' && kfuncPoison + candidate.at === poison,
  );
  return reference?.kind === 'kfunc' ? `kernel function ${reference.name}` : undefined;
}
