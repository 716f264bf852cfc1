import { AssertionError } from 'node:assert';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Waits until `check` returns a value other than false and undefined, and returns that value. An
 * assertion that fails in `check` means "not yet". Throws an Error with that assertion as its cause
 * after `ms` milliseconds; `what` is a clause, e.g. `the agent is ready`.
 */
export async function eventually<Result>(
  what: string,
  check: () => Result | Promise<Result>,
  { ms = 10_000, stepMs = 10 }: { readonly ms?: number; readonly stepMs?: number } = {},
): Promise<Exclude<Result, false | undefined>> {
  const deadline = performance.now() + ms;
  for (;;) {
    let cause: unknown;
    try {
      const result = await check();
      if (result !== false && result !== undefined) {
        return result as Exclude<Result, false | undefined>;
      }
    } catch (error) {
      if (!(error instanceof AssertionError)) throw error;
      cause = error;
    }
    if (performance.now() > deadline) {
      const reason = cause instanceof Error ? `: ${cause.message.split('\n', 1)[0]}` : '';
      throw new Error(`${what}: not within ${ms} ms${reason}`, { cause });
    }
    await sleep(stepMs);
  }
}
