/** Lines with statistics. */
const statistics =
  /^(processed \d+ insns|verification time|stack depth|peak_states|max_states_per_insn|mark_read)/;

/**
 * Returns the reason in a verifier log: its last line, and the source line that was checked then, if the
 * program has line information.
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
