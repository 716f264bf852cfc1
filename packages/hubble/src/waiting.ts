/** Readers that wait for a change, each until its client is gone. */
export class Waiting {
  readonly #wakes = new Set<() => void>();

  /** The number of readers that wait. */
  get size(): number {
    return this.#wakes.size;
  }

  /** Resolves at the next change, or when `signal` aborts. */
  changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const done = () => {
        this.#wakes.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.#wakes.add(done);
      signal.addEventListener('abort', done);
    });
  }

  /** Lets all readers that wait go on. */
  wake(): void {
    for (const wake of [...this.#wakes]) wake();
  }
}

/** Resolves after some milliseconds, or when `signal` aborts. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener('abort', done);
  });
}
