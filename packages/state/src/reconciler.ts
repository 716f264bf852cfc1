import type { Platform } from '@heddle/sys';
import { backoffMs } from './backoff.ts';
import type { Operations } from './operations.ts';
import type { Table } from './table.ts';

/** Where a row stands: `pending` is not tried yet, `done` is in force, `failed` is tried again. */
export interface RowStatus {
  readonly state: 'pending' | 'done' | 'failed';
  /** Why it failed. */
  readonly reason?: string;
  /** When it came into this state, in milliseconds since 1970 UTC. */
  readonly since: number;
}

/** The clock, timers and randomness that the reconciler needs; tests bring virtual ones. */
export type ReconcilerPort = Pick<
  Platform,
  'wallTimeMs' | 'monotonicNs' | 'setTimer' | 'randomBytes'
>;

export interface ReconcilerOptions {
  /** Rows in one call of the operations; what is left waits for the next turn of the event loop. */
  readonly batchSize?: number;
  /** Called when a row's state or reason changed; the status is absent when the row is gone. */
  readonly onStatus?: (key: string, status: RowStatus | undefined) => void;
  /** Called when everything that was to be done has been tried. */
  readonly onIdle?: () => void;
}

/** How many keys are in each state; a removal that failed counts as failed. */
export type ReconcilerCounts = Readonly<Record<RowStatus['state'], number>>;

/** What failed and when it is tried again. */
interface Failure {
  readonly attempts: number;
  /** Milliseconds of the monotonic clock, so that a clock that is set doesn't stop retries. */
  readonly dueMs: number;
}

/**
 * Brings the rows of a table into force through Operations and keeps a status on each. Call `sync`
 * after writing to the table; the rest (further batches, retries) happens by timer. Updates go
 * before removals, because a frontend may move from a row that goes to one that comes, and must not
 * be missing in between; an update that found no room is tried again after them. Several changes of one key before its turn count as one.
 */
export class Reconciler<Row extends { readonly key: string }> implements Disposable {
  readonly #table: Table<Row>;
  readonly #operations: Operations<Row>;
  readonly #port: ReconcilerPort;
  readonly #batchSize: number;
  readonly #onStatus: (key: string, status: RowStatus | undefined) => void;
  readonly #onIdle: () => void;
  /** Revision of the table up to which changes have been taken in. */
  #seen = 0;
  readonly #status = new Map<string, RowStatus>();
  readonly #counts = { pending: 0, done: 0, failed: 0 };
  readonly #toUpdate = new Set<string>();
  readonly #toRemove = new Set<string>();
  readonly #failures = new Map<string, Failure>();
  #complete = false;
  #pruned = false;
  #pruneFailure: (Failure & { reason: string }) | undefined;
  #lastSuccessMs: number | undefined;
  #timer: { readonly dueMs: number; readonly handle: Disposable } | undefined;
  #disposed = false;

  constructor(
    table: Table<Row>,
    operations: Operations<Row>,
    port: ReconcilerPort,
    options: ReconcilerOptions = {},
  ) {
    this.#table = table;
    this.#operations = operations;
    this.#port = port;
    this.#batchSize = options.batchSize ?? 4096;
    this.#onStatus = options.onStatus ?? (() => {});
    this.#onIdle = options.onIdle ?? (() => {});
  }

  /** Status of a row, or of a removal that failed. */
  status(key: string): RowStatus | undefined {
    return this.#status.get(key);
  }

  statuses(): Iterable<readonly [string, RowStatus]> {
    return this.#status.entries();
  }

  counts(): ReconcilerCounts {
    return { ...this.#counts };
  }

  /** When rows last came into force or were removed, in milliseconds since 1970 UTC. */
  get lastSuccessMs(): number | undefined {
    return this.#lastSuccessMs;
  }

  /** Whether what no row accounts for has been removed. */
  get pruned(): boolean {
    return this.#pruned;
  }

  /** Why pruning failed, until it succeeds. */
  get pruneProblem(): string | undefined {
    return this.#pruneFailure?.reason;
  }

  /**
   * Says that the table now holds everything that the source has. Only from then on may things be
   * removed that no row accounts for; they are, once every row has been tried.
   */
  setComplete(): void {
    if (this.#complete) return;
    this.#complete = true;
    this.sync();
  }

  /** Takes in what changed in the table and works on it: one batch now, the others by timer. */
  sync(): void {
    if (this.#disposed) return;
    this.#takeChanges();
    this.#queueDue(false);
    if (this.#updateBatch()) this.#queueDue(true);
    // What goes is removed when all that comes has been tried.
    if (this.#toUpdate.size === 0 && this.#removeBatch()) {
      this.#queueDue(true);
      if (this.#updateBatch()) this.#queueDue(true);
    }
    this.#prune();
    this.#schedule();
    if (this.#toUpdate.size === 0 && this.#toRemove.size === 0) this.#onIdle();
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#timer?.handle[Symbol.dispose]();
    this.#timer = undefined;
  }

  #takeChanges(): void {
    if (this.#table.revision === this.#seen) return;
    const { revision, upserted, removed, incremental } = this.#table.changesSince(this.#seen);
    this.#seen = revision;
    const pending: RowStatus = { state: 'pending', since: this.#port.wallTimeMs() };
    const remove = (key: string) => {
      this.#toUpdate.delete(key);
      this.#failures.delete(key);
      // A row that came and went between two turns never was in force.
      if (!this.#status.has(key)) return;
      this.#toRemove.add(key);
      this.#setStatus(key, pending);
    };
    for (const key of removed) remove(key);
    if (!incremental) {
      for (const key of [...this.#status.keys()]) if (!this.#table.get(key)) remove(key);
    }
    for (const { key } of upserted) {
      this.#toRemove.delete(key);
      // A changed row is another try: what is known of its failure belongs to the old content.
      this.#failures.delete(key);
      this.#toUpdate.add(key);
      this.#setStatus(key, pending);
    }
  }

  /** Removes rows; true when some row was, so that there may be room again. */
  #removeBatch(): boolean {
    const keys = this.#take(this.#toRemove);
    if (keys.length === 0) return false;
    const errors = attempt(() => this.#operations.remove(keys), keys.length);
    let removedSome = false;
    keys.forEach((key, i) => {
      const error = errors[i];
      if (error) {
        this.#fail(key, error);
        return;
      }
      removedSome = true;
      this.#failures.delete(key);
      this.#setStatus(key, undefined);
    });
    if (removedSome) this.#lastSuccessMs = this.#port.wallTimeMs();
    return removedSome;
  }

  /** Updates rows; true when rows that had failed came into force and none failed: there is room. */
  #updateBatch(): boolean {
    const keys = this.#take(this.#toUpdate);
    if (keys.length === 0) return false;
    const rows = keys.map((key) => this.#table.get(key)!);
    const errors = attempt(() => this.#operations.update(rows), rows.length);
    const now = this.#port.wallTimeMs();
    // One object for the whole batch: with 50,000 rows a status of its own would be felt.
    const done: RowStatus = { state: 'done', since: now };
    let recovered = false;
    let failed = false;
    keys.forEach((key, i) => {
      const error = errors[i];
      if (error) {
        this.#fail(key, error);
        failed = true;
        return;
      }
      if (this.#failures.delete(key)) recovered = true;
      this.#setStatus(key, done);
      this.#lastSuccessMs = now;
    });
    return recovered && !failed;
  }

  /** Queues what failed and is due; if room may have returned, also one batch of what isn't yet. */
  #queueDue(roomReturned: boolean): void {
    const now = this.#nowMs();
    let early = roomReturned ? this.#batchSize : 0;
    for (const [key, failure] of this.#failures) {
      const isDue = failure.dueMs <= now;
      if (!isDue && early <= 0) continue;
      if (!isDue) early--;
      (this.#table.get(key) ? this.#toUpdate : this.#toRemove).add(key);
    }
  }

  #prune(): void {
    if (!this.#complete || this.#pruned) return;
    if (this.#toUpdate.size > 0 || this.#toRemove.size > 0) return;
    if (this.#pruneFailure && this.#pruneFailure.dueMs > this.#nowMs()) return;
    try {
      this.#operations.prune(this.#table.rows());
    } catch (error) {
      const attempts = (this.#pruneFailure?.attempts ?? 0) + 1;
      const dueMs = this.#dueAfter(attempts);
      this.#pruneFailure = { attempts, dueMs, reason: messageOf(error) };
      return;
    }
    this.#pruned = true;
    this.#pruneFailure = undefined;
    this.#lastSuccessMs = this.#port.wallTimeMs();
    // What was removed may have made room.
    this.#queueDue(true);
  }

  #fail(key: string, error: Error): void {
    const before = this.#failures.get(key);
    // A try ahead of time, because room seemed to have returned, doesn't put off the next one.
    if (!before || before.dueMs <= this.#nowMs()) {
      const attempts = (before?.attempts ?? 0) + 1;
      this.#failures.set(key, { attempts, dueMs: this.#dueAfter(attempts) });
    }
    this.#setStatus(key, {
      state: 'failed',
      reason: error.message,
      since: this.#port.wallTimeMs(),
    });
  }

  #setStatus(key: string, status: RowStatus | undefined): void {
    const before = this.#status.get(key);
    // Still failing for the same reason: `since` keeps saying since when.
    if (status?.state === 'failed' && before?.reason === status.reason) return;
    if (before) this.#counts[before.state]--;
    if (status) {
      this.#counts[status.state]++;
      this.#status.set(key, status);
    } else {
      this.#status.delete(key);
    }
    this.#onStatus(key, status);
  }

  #take(queue: Set<string>): string[] {
    const keys: string[] = [];
    for (const key of queue) {
      if (keys.length === this.#batchSize) break;
      keys.push(key);
    }
    for (const key of keys) queue.delete(key);
    return keys;
  }

  #dueAfter(attempts: number): number {
    const random = this.#port.randomBytes(1)[0]! / 256;
    return this.#nowMs() + backoffMs(attempts, random);
  }

  #nowMs(): number {
    return Number(this.#port.monotonicNs() / 1_000_000n);
  }

  #schedule(): void {
    const now = this.#nowMs();
    let dueMs = Number.POSITIVE_INFINITY;
    if (this.#toUpdate.size > 0 || this.#toRemove.size > 0) dueMs = now;
    else {
      for (const failure of this.#failures.values()) dueMs = Math.min(dueMs, failure.dueMs);
      if (this.#pruneFailure) dueMs = Math.min(dueMs, this.#pruneFailure.dueMs);
    }
    if (this.#timer?.dueMs === dueMs) return;
    this.#timer?.handle[Symbol.dispose]();
    this.#timer = undefined;
    if (dueMs === Number.POSITIVE_INFINITY) return;
    const handle = this.#port.setTimer(Math.max(0, dueMs - now), () => {
      this.#timer = undefined;
      this.sync();
    });
    this.#timer = { dueMs, handle };
  }
}

/** Results of an operation; one that throws as a whole has failed for each row. */
function attempt(
  operation: () => readonly (Error | undefined)[],
  count: number,
): readonly (Error | undefined)[] {
  try {
    return operation();
  } catch (error) {
    const whole = error instanceof Error ? error : new Error(messageOf(error));
    return new Array<Error>(count).fill(whole);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
