/** Lines that only count, and say nothing about the reason. */
const statistics =
  /^(processed \d+ insns|verification time|stack depth|peak_states|max_states_per_insn|mark_read)/;

/**
 * The one or two lines of a verifier log that tell why: the complaint, and the source line that
 * was being checked when it came, if the program has line information.
 */
export function summarizeLog(log: string): string {
  const lines = log.split('\n').map((line) => line.trim());
  let end = lines.length - 1;
  while (end >= 0 && (lines[end] === '' || statistics.test(lines[end]!))) end--;
  if (end < 0) return 'the verifier gave no reason';
  const complaint = lines[end]!;
  for (let i = end - 1; i >= 0; i--) {
    // Source lines are printed as `; text @ file:line` (before Linux 6.8 without the place).
    if (lines[i]!.startsWith('; ')) return `${complaint} (at "${lines[i]!.slice(2).trim()}")`;
  }
  return complaint;
}
