import type { Platform } from '@heddle/sys';
import { backoffMs } from './backoff.ts';
import type { Operations } from './operations.ts';
import type { Table } from './table.ts';

/** The state of a row: `pending` is not tried yet, `done` is programmed, `failed` is tried again. */
export interface RowStatus {
  readonly state: 'pending' | 'done' | 'failed';
  /** The message of the error; present if the row failed. */
  readonly reason?: string;
  /** The time at which the row came into this state, in milliseconds since 1970 UTC. */
  readonly since: number;
}

/** The clock, timers and randomness that the reconciler needs; tests use virtual ones. */
export type ReconcilerPort = Pick<
  Platform,
  'wallTimeMs' | 'monotonicNs' | 'setTimer' | 'randomBytes'
>;

/** Options and callbacks of a Reconciler. */
export interface ReconcilerOptions {
  /** The number of rows in one call of the operations; the rest waits for the next turn of the event loop. */
  readonly batchSize?: number;
  /** Called when a row's state or reason has changed; the status is absent when the row was removed. */
  readonly onStatus?: (key: string, status: RowStatus | undefined) => void;
  /** Called when every pending row has been tried. */
  readonly onIdle?: () => void;
}

/** The number of keys in each state; a removal that failed counts as failed. */
export type ReconcilerCounts = Readonly<Record<RowStatus['state'], number>>;

/** The failed attempts of one row, and the time of the next one. */
interface Failure {
  readonly attempts: number;
  /** Milliseconds of the monotonic clock, so that a change of the wall clock does not stop retries. */
  readonly dueMs: number;
}

/** A call of `waitFor` that is not settled. */
interface Waiter {
  readonly key: string;
  readonly revision: number;
  readonly resolve: () => void;
  readonly reject: (error: RowNotProgrammed) => void;
  readonly timer: Disposable;
}

/** The reason why a row that was waited for is not programmed; see `waitFor`. */
export class RowNotProgrammed extends Error {
  override readonly name = 'RowNotProgrammed';
  readonly key: string;
  readonly reason: 'failed' | 'removed' | 'deadline' | 'disposed';

  constructor(key: string, reason: RowNotProgrammed['reason'], detail: string) {
    super(`program ${key}: ${detail}`);
    this.key = key;
    this.reason = reason;
  }
}

/**
 * Programs the rows of a table through Operations and keeps a status of each. Call `sync` after a write to
 * the table; further batches and retries follow by timer. Updates precede removals, because a frontend may
 * move from a removed row to a new one and must not be missing in between; an update that found no room is
 * repeated after the removals. Several changes of one key before its turn are one update.
 */
export class Reconciler<Row extends { readonly key: string }> implements Disposable {
  readonly #table: Table<Row>;
  readonly #operations: Operations<Row>;
  readonly #port: ReconcilerPort;
  readonly #batchSize: number;
  readonly #onStatus: (key: string, status: RowStatus | undefined) => void;
  readonly #onIdle: () => void;
  /** The revision of the table up to which the queues below have its changes. */
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
  readonly #waiters = new Set<Waiter>();
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

  /** Returns the status of a row, or of a removal that failed. */
  status(key: string): RowStatus | undefined {
    return this.#status.get(key);
  }

  statuses(): Iterable<readonly [string, RowStatus]> {
    return this.#status.entries();
  }

  counts(): ReconcilerCounts {
    return { ...this.#counts };
  }

  /** The time at which rows were last programmed or removed, in milliseconds since 1970 UTC. */
  get lastSuccessMs(): number | undefined {
    return this.#lastSuccessMs;
  }

  /** True once everything that no row accounts for has been removed. */
  get pruned(): boolean {
    return this.#pruned;
  }

  /** The message of the last error of pruning, until pruning succeeds. */
  get pruneProblem(): string | undefined {
    return this.#pruneFailure?.reason;
  }

  /**
   * Declares that the table holds everything that the source has. Once every row has been tried, the
   * reconciler removes whatever no row accounts for; it never does so before this call.
   */
  setComplete(): void {
    if (this.#complete) return;
    this.#complete = true;
    this.sync();
  }

  /**
   * Waits until a row is programmed as the table had it at `revision`, or as it was written later; `apply` of
   * the table returns the revision. Rejects with RowNotProgrammed when the row fails (the reconciler tries it
   * again all the same), when the table does not hold it any more, after `timeoutMs` milliseconds of the
   * monotonic clock, and when the reconciler is disposed.
   */
  waitFor(key: string, revision: number, timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        ...{ key, revision, resolve, reject },
        timer: this.#port.setTimer(timeoutMs, () => {
          this.#waiters.delete(waiter);
          reject(new RowNotProgrammed(key, 'deadline', `not done after ${timeoutMs} ms`));
        }),
      };
      this.#waiters.add(waiter);
      this.#settle(waiter);
    });
  }

  /** Reads the changes of the table and works on them: one batch now, the others by timer. */
  sync(): void {
    if (this.#disposed) return;
    this.#takeChanges();
    this.#queueDue(false);
    if (this.#updateBatch()) this.#queueDue(true);
    // Rows are removed when all updates have been tried.
    if (this.#toUpdate.size === 0 && this.#removeBatch()) {
      this.#queueDue(true);
      if (this.#updateBatch()) this.#queueDue(true);
    }
    this.#prune();
    this.#schedule();
    this.#settleWaiters();
    if (this.#toUpdate.size === 0 && this.#toRemove.size === 0) this.#onIdle();
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#timer?.handle[Symbol.dispose]();
    this.#timer = undefined;
    this.#settleWaiters();
  }

  #settleWaiters(): void {
    for (const waiter of this.#waiters) this.#settle(waiter);
  }

  /** Does nothing while the row is pending. */
  #settle(waiter: Waiter): void {
    const outcome = this.#outcome(waiter);
    if (outcome === undefined) return;
    this.#waiters.delete(waiter);
    waiter.timer[Symbol.dispose]();
    if (outcome === 'programmed') waiter.resolve();
    else waiter.reject(outcome);
  }

  /** Returns undefined while the row is pending. */
  #outcome({ key, revision }: Waiter): 'programmed' | RowNotProgrammed | undefined {
    if (this.#disposed) return new RowNotProgrammed(key, 'disposed', 'the reconciler was disposed');
    if (this.#seen < revision) return undefined;
    if (!this.#table.get(key)) return new RowNotProgrammed(key, 'removed', 'the row was removed');
    const { state, reason = '' } = this.#status.get(key) ?? {};
    if (state === 'failed') return new RowNotProgrammed(key, 'failed', reason);
    return state === 'done' ? 'programmed' : undefined;
  }

  #takeChanges(): void {
    if (this.#table.revision === this.#seen) return;
    const { revision, upserted, removed, incremental } = this.#table.changesSince(this.#seen);
    this.#seen = revision;
    const pending: RowStatus = { state: 'pending', since: this.#port.wallTimeMs() };
    const remove = (key: string) => {
      this.#toUpdate.delete(key);
      this.#failures.delete(key);
      // A row that was added and removed between two turns was never programmed.
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
      // A changed row starts without failures: those belong to its old content.
      this.#failures.delete(key);
      this.#toUpdate.add(key);
      this.#setStatus(key, pending);
    }
  }

  /** Removes a batch of rows; true if at least one was removed, so that there may be room again. */
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

  /** Updates a batch of rows; true if a row that had failed succeeded and none failed: there is room. */
  #updateBatch(): boolean {
    const keys = this.#take(this.#toUpdate);
    if (keys.length === 0) return false;
    const rows = keys.map((key) => this.#table.get(key)!);
    const errors = attempt(() => this.#operations.update(rows), rows.length);
    const now = this.#port.wallTimeMs();
    // The batch shares one object: with 50,000 rows, one for each would cost memory.
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

  /** Queues the failed rows that are due; if there may be room again, also one batch of those that are not. */
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
    // The removed entries may have made room.
    this.#queueDue(true);
  }

  #fail(key: string, error: Error): void {
    const before = this.#failures.get(key);
    // An early attempt, made because there seemed to be room, does not delay the next one.
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
    // `since` stays while a row fails for the same reason.
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

/** Returns the results of an operation; an operation that throws has failed for each row. */
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
