/** Changes that are watched at a time; beyond it they go unmeasured. */
const mostWaiting = 10_000;

interface Waiting {
  /** When what led to each change happened, in milliseconds since 1970. */
  readonly triggeredMs: number[];
  /** A row failed: what waits for it comes into force when a later try succeeds. */
  failed: boolean;
}

/**
 * Measures the time from what happened to a pod or service to when it is in force on this node, as
 * the authors of EndpointSlices note the former. What happened before this process started is not
 * measured, as it waited for something else.
 */
export class ProgrammingLatency {
  readonly #startedMs: number;
  readonly #nowMs: () => number;
  readonly #observe: (seconds: number) => void;
  /** By service, `namespace/name`. */
  readonly #waiting = new Map<string, Waiting>();

  constructor(nowMs: () => number, observe: (seconds: number) => void) {
    this.#startedMs = nowMs();
    this.#nowMs = nowMs;
    this.#observe = observe;
  }

  /** A slice of the service has changed because of what happened at `triggeredMs`. */
  changed(service: string, triggeredMs: number): void {
    if (triggeredMs < this.#startedMs || this.#waiting.size >= mostWaiting) return;
    const waiting = this.#waiting.get(service);
    if (!waiting) this.#waiting.set(service, { triggeredMs: [triggeredMs], failed: false });
    else if (waiting.triggeredMs.length < 1000) waiting.triggeredMs.push(triggeredMs);
  }

  /** A row (`namespace/name:...`) is in force, failed, or is gone. */
  settled(rowKey: string, state: 'done' | 'failed' | undefined): void {
    if (this.#waiting.size === 0) return;
    const service = rowKey.slice(0, rowKey.indexOf(':'));
    const waiting = this.#waiting.get(service);
    if (!waiting) return;
    waiting.failed = state === 'failed';
    if (state === 'failed') return;
    this.#waiting.delete(service);
    if (state === undefined) return;
    const now = this.#nowMs();
    for (const each of waiting.triggeredMs) this.#observe(Math.max(0, now - each) / 1000);
  }

  /** Nothing is left to do: what still waits had no effect on any row, unless its row failed. */
  idle(): void {
    for (const [service, { failed }] of this.#waiting) {
      if (!failed) this.#waiting.delete(service);
    }
  }
}
