const sleeper = new Int32Array(new SharedArrayBuffer(4));

/**
 * Calls `done` every 2 ms until it returns true, and blocks the thread meanwhile. It is for state of
 * the kernel for which there is no event. Throws an Error after `milliseconds`; `what` opens its
 * message.
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
