/** The waits between attempts: twice as long each time, within limits, and of different lengths for each peer. */
export class BackOff {
  readonly #leastMs: number;
  readonly #mostMs: number;
  #next: number;

  constructor(leastMs = 500, mostMs = 30_000) {
    this.#leastMs = leastMs;
    this.#mostMs = mostMs;
    this.#next = leastMs;
  }

  /** Returns the milliseconds to wait before the next attempt. */
  next(): number {
    const wait = this.#next;
    this.#next = Math.min(this.#mostMs, wait * 2);
    // Peers that fail together do not come back at the same moment.
    return wait * (0.75 + Math.random() / 2);
  }

  /** Notes a success: the next wait is the shortest. */
  reset(): void {
    this.#next = this.#leastMs;
  }
}

/** Longer texts of errors are cut: peers choose them. */
const messageMax = 300;

/** Returns the text of an error on one line, without the code before it. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const text = 'rawMessage' in error ? String(error.rawMessage) : error.message;
  return text.replace(/\p{Cc}+/gu, ' ').slice(0, messageMax);
}
