/** The largest number of services whose changes are measured at a time. */
const maxWaiting = 10_000;

interface Waiting {
  /** The times of the events that led to the changes, in milliseconds since 1970. */
  readonly triggeredMs: number[];
  /** True if a row failed: its changes are programmed when a retry succeeds. */
  failed: boolean;
}

/**
 * Measures the time from a change of a pod or service, as the author of the EndpointSlice notes it, until it is
 * programmed on this node. Changes before the start of this process are not measured, because they waited for
 * the process.
 */
export class ProgrammingLatency {
  readonly #startedMs: number;
  readonly #nowMs: () => number;
  readonly #observe: (seconds: number) => void;
  /** The pending changes by service, `namespace/name`. */
  readonly #waiting = new Map<string, Waiting>();

  constructor(nowMs: () => number, observe: (seconds: number) => void) {
    this.#startedMs = nowMs();
    this.#nowMs = nowMs;
    this.#observe = observe;
  }

  /** Notes that an EndpointSlice of the service has changed because of an event at `triggeredMs`. */
  changed(service: string, triggeredMs: number): void {
    if (triggeredMs < this.#startedMs || this.#waiting.size >= maxWaiting) return;
    const waiting = this.#waiting.get(service);
    if (!waiting) this.#waiting.set(service, { triggeredMs: [triggeredMs], failed: false });
    else if (waiting.triggeredMs.length < 1000) waiting.triggeredMs.push(triggeredMs);
  }

  /** Notes that a row (`namespace/name:...`) is programmed, failed, or was removed. */
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

  /** Notes that nothing is pending: changes that still wait had no effect on any row, unless their row failed. */
  idle(): void {
    for (const [service, { failed }] of this.#waiting) {
      if (!failed) this.#waiting.delete(service);
    }
  }
}
