import {
  type Operations,
  Reconciler,
  type ReconcilerCounts,
  type RowStatus,
  Table,
} from '@heddle/state';
import type { FeatureHost } from './feature.ts';
import { SyncClock } from './sync-clock.ts';

type Host = Pick<FeatureHost, 'platform' | 'events' | 'changeLevel' | 'isSettled' | 'onIdle'>;

export interface RowsOptions<Row> {
  readonly operations: Operations<Row>;
  /** Returns the end of the sentence `KEY programmed ...`, e.g. ` with 2 backends`. */
  readonly describe?: (row: Row) => string;
  /** Returns what of a row cannot be programmed as its objects want it, in sentences. */
  readonly problems?: (row: Row) => readonly string[];
  /** Called when a row's state has changed, before the event; the status is absent when the row was removed. */
  readonly onStatus?: (key: string, status: RowStatus | undefined) => void;
  /** Called when everything pending has been tried with success, with the seconds that it took. */
  readonly onSynced?: (seconds: number) => void;
}

/** A table of a feature's rows that is programmed: it measures how long that takes, and makes events of it. */
export class Rows<Row extends { readonly key: string }> implements Disposable {
  readonly table = new Table<Row>();
  readonly #host: Host;
  readonly #options: RowsOptions<Row>;
  readonly #reconciler: Reconciler<Row>;
  readonly #clock: SyncClock;

  constructor(host: Host, options: RowsOptions<Row>) {
    this.#host = host;
    this.#options = options;
    this.#clock = new SyncClock(host.platform, (seconds) => options.onSynced?.(seconds));
    this.#reconciler = new Reconciler(this.table, options.operations, host.platform, {
      onStatus: (key, status) => this.#onStatus(key, status),
      onIdle: () => this.#onIdle(),
    });
  }

  get(key: string): Row | undefined {
    return this.table.get(key);
  }

  all(): Iterable<Row> {
    return this.table.rows();
  }

  status(key: string): RowStatus | undefined {
    return this.#reconciler.status(key);
  }

  statuses(): Iterable<readonly [string, RowStatus]> {
    return this.#reconciler.statuses();
  }

  counts(): ReconcilerCounts {
    return this.#reconciler.counts();
  }

  /** See Progress. */
  get waitedMs(): number {
    return this.#clock.waitedMs;
  }

  get lastQueuedMs(): number | undefined {
    return this.#clock.lastQueuedMs;
  }

  get lastDoneMs(): number | undefined {
    return this.#clock.lastDoneMs;
  }

  /** Writes rows and starts to program them. Returns the revision of the table, for `waitFor`. */
  write(changes: { readonly upserted: Iterable<Row>; readonly removed: Iterable<string> }): number {
    this.#clock.queued();
    const revision = this.table.apply(changes);
    this.#reconciler.sync();
    return revision;
  }

  /** See Reconciler. */
  setComplete(): void {
    this.#reconciler.setComplete();
  }

  /** See Reconciler. */
  waitFor(key: string, revision: number, timeoutMs: number): Promise<void> {
    return this.#reconciler.waitFor(key, revision, timeoutMs);
  }

  /** Makes an event of each problem of all rows. */
  reportProblems(): void {
    for (const row of this.table.rows()) this.#reportProblemsOf(row);
  }

  [Symbol.dispose](): void {
    this.#reconciler[Symbol.dispose]();
  }

  #onStatus(key: string, status: RowStatus | undefined): void {
    this.#options.onStatus?.(key, status);
    const { events, changeLevel, isSettled } = this.#host;
    if (!status) events.add(changeLevel, 'removed', key, `${key} removed`);
    else if (status.state === 'failed') {
      events.add('warn', 'failed', key, `${key} failed: ${status.reason}`);
    } else if (status.state === 'done' && isSettled) {
      const row = this.table.get(key)!;
      const description = this.#options.describe?.(row) ?? '';
      events.add(changeLevel, 'in-force', key, `${key} programmed${description}`);
      this.#reportProblemsOf(row);
    }
  }

  #reportProblemsOf(row: Row): void {
    for (const problem of this.#options.problems?.(row) ?? []) {
      this.#host.events.add('warn', 'problem', row.key, problem);
    }
  }

  #onIdle(): void {
    const { done, failed } = this.#reconciler.counts();
    // If no row at all could be programmed, the changes still wait.
    if (failed === 0 || done > 0) this.#clock.done();
    this.#host.onIdle();
  }
}
