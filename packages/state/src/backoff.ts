const firstMs = 100;
const longestMs = 30_000;

/**
 * How long to wait before try number `attempt` + 1 when `attempt` tries failed: 100 ms, doubled each
 * time, at most 30 s, less a random part of up to a half, so that rows that failed together
 * don't come back together. `random` is from 0 (inclusive) to 1.
 */
export function backoffMs(attempt: number, random: number): number {
  const full = Math.min(longestMs, firstMs * 2 ** Math.min(attempt - 1, 20));
  return Math.round(full * (1 - random / 2));
}
