/**
 * Disposables that are released together, the last one first. Node.js 22 and the static runtime lack
 * DisposableStack.
 */
export class Disposal implements Disposable {
  readonly #parts: Disposable[] = [];

  /** Adds `part`, which is released with the others, and returns it. */
  use<Part extends Disposable>(part: Part): Part {
    this.#parts.push(part);
    return part;
  }

  /** Releases all parts, also when one of them fails; then throws the first error. */
  [Symbol.dispose](): void {
    const errors: unknown[] = [];
    for (let part = this.#parts.pop(); part; part = this.#parts.pop()) {
      try {
        part[Symbol.dispose]();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}

/** Returns the result of `make`. When it throws, everything that it added to the Disposal is released. */
export function allOrNothing<Made>(make: (opened: Disposal) => Made): Made {
  const opened = new Disposal();
  try {
    return make(opened);
  } catch (error) {
    opened[Symbol.dispose]();
    throw error;
  }
}
