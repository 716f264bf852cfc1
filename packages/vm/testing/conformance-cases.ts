import { arithmetic, jumps, programs, unary } from './conformance.ts';

/** Instructions that leave a value in r0. */
export interface ConformanceCase {
  readonly what: string;
  readonly instructions: string;
  readonly result: bigint;
}

const fits = (value: bigint) => value === BigInt.asUintN(64, BigInt.asIntN(32, value));
const signed32 = (value: string) => BigInt.asIntN(32, BigInt(value));
/** The largest 64-bit and 32-bit shifts by an immediate that the verifier accepts. */
const shiftLimits = { r: 64n, w: 32n };

/** Returns all cases of conformance.ts: with a register and, if the number fits, with an immediate. */
export function* conformanceCases(): Generator<ConformanceCase> {
  for (const [operator, a, b, wide, short] of arithmetic) {
    for (const bank of ['r', 'w'] as const) {
      const result = BigInt(bank === 'r' ? wide : short);
      const start = `r0 = ${a} ll; r1 = ${b} ll; `;
      const byRegister = `${bank}0 ${operator} ${bank}1`;
      yield { what: `${byRegister} (${a}, ${b})`, instructions: start + byRegister, result };
      const value = BigInt(b);
      const refused =
        (/[/%]=/.test(operator) && value === 0n) ||
        (/<<=|>>=/.test(operator) && value >= shiftLimits[bank]);
      if (refused || (bank === 'r' && !fits(value))) continue;
      const byImmediate = `${bank}0 ${operator} ${signed32(b)}`;
      yield { what: `${byImmediate} (${a})`, instructions: start + byImmediate, result };
    }
  }
  for (const [instruction, before, after] of unary) {
    const instructions = `r0 = ${before} ll; ${instruction}`;
    yield { what: `${instruction} (${before})`, instructions, result: BigInt(after) };
  }
  for (const [condition, a, b, wide, short] of jumps) {
    for (const bank of ['r', 'w'] as const) {
      const taken = (bank === 'r' ? wide : short) ? 1n : 0n;
      const jump = (operand: string) =>
        `r0 = ${a} ll; r1 = ${b} ll; if ${bank}0 ${condition} ${operand} goto yes; r0 = 0; goto on; yes:; r0 = 1; on:`;
      const what = `${bank}0 ${condition} (${a}, ${b})`;
      yield { what, instructions: jump(`${bank}1`), result: taken };
      if (bank === 'r' && !fits(BigInt(b))) continue;
      const instructions = jump(String(signed32(b)));
      yield { what: `${what}, immediate`, instructions, result: taken };
    }
  }
  for (const [what, instructions, result] of programs) {
    yield { what, instructions, result: BigInt(result) };
  }
}
