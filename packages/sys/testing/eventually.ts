import { setTimeout as sleep } from 'node:timers/promises';

/** The results of a check that has to be repeated. */
type NotYet = false | null | undefined;

export interface EventuallyOptions {
  /** Milliseconds after which it fails. Default: 10,000. */
  readonly ms?: number;
  /** Milliseconds between two checks. Default: 10. */
  readonly stepMs?: number;
  /** Returns what is known about the failure, e.g. a log; it ends the message. */
  readonly detail?: () => string;
}

/**
 * Waits until `check` returns a value other than false, null and undefined, and returns that value.
 * `what` is a clause, e.g. `the agent is ready`. Throws an Error when the time is over, and at once
 * what `check` throws.
 */
export async function eventually<Result>(
  what: string,
  check: () => Result | NotYet | Promise<Result | NotYet>,
  { ms = 10_000, stepMs = 10, detail }: EventuallyOptions = {},
): Promise<Exclude<Result, NotYet>> {
  const deadline = performance.now() + ms;
  for (;;) {
    const result = await check();
    if (result !== false && result !== null && result !== undefined) {
      return result as Exclude<Result, NotYet>;
    }
    if (performance.now() > deadline) {
      throw new Error(`${what}: not within ${ms} ms${detail ? `\n${detail()}` : ''}`);
    }
    await sleep(stepMs);
  }
}
