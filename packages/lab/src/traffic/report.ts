import { Histogram } from './histogram.ts';

/** The results of the requests to one target. */
export interface TargetReport {
  /** Number of all requests, including failed ones. */
  readonly requests: number;
  readonly failed: number;
  /** Number of failures by reason, an errno name or `bad answer`. */
  readonly failures: Readonly<Record<string, number>>;
  /** Microseconds for connect, request and close of successful requests; null when there were none. */
  readonly p50Us: number | null;
  readonly p99Us: number | null;
  /** Number of answers by pod. */
  readonly answers: Readonly<Record<string, number>>;
}

/** One line of the output of the client. */
export interface ClientReport {
  /** `window`: since the previous report. `total`, the last line: since the start. */
  readonly type: 'window' | 'total';
  readonly seconds: number;
  readonly targets: Readonly<Record<string, TargetReport>>;
}

/** Counts the results of a TargetReport. */
export class Tally {
  readonly #latencies = new Histogram();
  readonly #answers = new Map<string, number>();
  readonly #failures = new Map<string, number>();
  #failed = 0;

  answered(pod: string, nanoseconds: number): void {
    this.#latencies.add(nanoseconds);
    increase(this.#answers, pod, 1);
  }

  failed(reason: string): void {
    this.#failed++;
    increase(this.#failures, reason, 1);
  }

  /** Adds the counts of another tally. */
  merge(other: Tally): void {
    this.#latencies.merge(other.#latencies);
    this.#failed += other.#failed;
    for (const [pod, count] of other.#answers) increase(this.#answers, pod, count);
    for (const [reason, count] of other.#failures) increase(this.#failures, reason, count);
  }

  clear(): void {
    this.#latencies.clear();
    this.#answers.clear();
    this.#failures.clear();
    this.#failed = 0;
  }

  report(): TargetReport {
    return {
      requests: this.#latencies.count + this.#failed,
      failed: this.#failed,
      failures: Object.fromEntries(this.#failures),
      p50Us: microseconds(this.#latencies.quantile(0.5)),
      p99Us: microseconds(this.#latencies.quantile(0.99)),
      answers: Object.fromEntries(this.#answers),
    };
  }
}

function increase(counts: Map<string, number>, key: string, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}

function microseconds(nanoseconds: number | undefined): number | null {
  return nanoseconds === undefined ? null : Math.round(nanoseconds / 100) / 10;
}
