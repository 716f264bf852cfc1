const firstMs = 100;
const longestMs = 30_000;

/**
 * Returns the milliseconds to wait after `attempt` failed attempts: 100 ms, doubled each time, at most 30 s,
 * less a random part of up to a half, so that rows that failed together are not retried together. `random`
 * is from 0 (inclusive) to 1 (exclusive).
 */
export function backoffMs(attempt: number, random: number): number {
  const full = Math.min(longestMs, firstMs * 2 ** Math.min(attempt - 1, 20));
  return Math.round(full * (1 - random / 2));
}
