const sleeper = new Int32Array(new SharedArrayBuffer(4));

/**
 * Asks `done` every few milliseconds, holding up the thread, until it says true. For kernel state
 * that has no event to wait for. Throws an Error after `milliseconds`; `what` opens its message.
 */
export function poll(what: string, milliseconds: number, done: () => boolean): void {
  const until = performance.now() + milliseconds;
  while (!done()) {
    if (performance.now() > until) {
      throw new Error(`${what}: not done after ${milliseconds} ms`);
    }
    Atomics.wait(sleeper, 0, 0, 2);
  }
}
