import { closeSync, openSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { RuleRef, WorkloadKind } from '@heddle/web/contract';
import type { Sums } from '../traffic/buckets.ts';
import type { Counted } from '../traffic/links.ts';
import type { LinkRow } from '../traffic/model.ts';
import type { Traffic } from '../traffic/traffic.ts';

const minuteMs = 60_000;
const dayMinutes = 1440;
/** Counts of minutes are in this version of the tables. */
const version = 1;

/** A link as the file has it. */
interface StoredLink {
  readonly from: readonly [namespace: string, name: string, kind: WorkloadKind];
  readonly to: readonly [namespace: string, name: string, kind: WorkloadKind];
  readonly protocol: number;
  readonly port: number;
  readonly service: string;
  readonly verdict: LinkRow['verdict'];
  readonly reason: number;
  readonly rules: readonly RuleRef[];
  readonly direction?: LinkRow['direction'];
  readonly firstSeen: number;
}

/**
 * The counts of links for each minute of 24 hours in an SQLite file, which is bounded in bytes: the oldest hours
 * are removed first. What was flushed is kept when the process is killed.
 */
export class HistoryFile implements Disposable {
  readonly #path: string;
  readonly #bytesMax: number;
  readonly #database: DatabaseSync;
  readonly #insertLink: StatementSync;
  readonly #addCounts: StatementSync;
  readonly #numbers = new Map<string, number>();
  #pending = new Map<number, Map<LinkRow, Sums>>();

  /** Opens or makes a file. Throws an Error that names the file and the remedy. */
  constructor(path: string, bytesMax: number) {
    this.#path = path;
    this.#bytesMax = bytesMax;
    try {
      // SQLite gives its other files the mode of this one; flows are not for everybody.
      closeSync(openSync(path, 'a', 0o640));
      this.#database = new DatabaseSync(path);
      prepareTables(this.#database);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`open history file ${path}: ${why} (remove the file or choose another)`, {
        cause,
      });
    }
    this.#insertLink = this.#database.prepare(
      'INSERT INTO link (id, body) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = body RETURNING number',
    );
    this.#addCounts = this.#database.prepare(
      `INSERT INTO counts (minute, link, count, bytes_out, bytes_in, resets) VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT (minute, link) DO UPDATE SET count = count + excluded.count,
         bytes_out = bytes_out + excluded.bytes_out, bytes_in = bytes_in + excluded.bytes_in,
         resets = resets + excluded.resets`,
    );
  }

  /** Notes a flow that was counted, until the next flush. */
  note({ row, time, count, bytesOut, bytesIn, resets }: Counted): void {
    const minute = Math.floor(time / minuteMs);
    const links = this.#pending.get(minute) ?? new Map<LinkRow, Sums>();
    this.#pending.set(minute, links);
    const counts = links.get(row);
    if (!counts) {
      links.set(row, { count, bytesOut, bytesIn, resets });
      return;
    }
    counts.count += count;
    counts.bytesOut += bytesOut;
    counts.bytesIn += bytesIn;
    counts.resets += resets;
  }

  /**
   * Writes what was noted, and removes what is older than 24 hours or more than the file may have. Throws an Error
   * that names the file; what was noted is kept for the next flush.
   */
  flush(now: number): void {
    const pending = this.#pending;
    try {
      this.#inTransaction(() => {
        for (const [minute, links] of pending) {
          for (const [row, { count, bytesOut, bytesIn, resets }] of links) {
            this.#addCounts.run(minute, this.#numberOf(row), count, bytesOut, bytesIn, resets);
          }
        }
        const oldest = Math.floor(now / minuteMs) - dayMinutes;
        this.#database.prepare('DELETE FROM counts WHERE minute < ?').run(oldest);
        this.#database
          .prepare('REPLACE INTO state (name, value) VALUES (?, ?)')
          .run('flushed', now);
      });
      this.#pending = new Map();
      this.#makeRoom();
    } catch (cause) {
      // Numbers of links that a failed transaction has made do not exist.
      this.#numbers.clear();
      this.#forgetOldest(now);
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`write history file ${this.#path}: ${why}`, { cause });
    }
  }

  /**
   * Adds all that the file has of the last 24 hours to the links. Flows from before the last flush are not
   * counted again. Returns the oldest time (milliseconds since 1970), or undefined if the file has nothing.
   */
  load(traffic: Traffic, now: number): number | undefined {
    const state = this.#database.prepare('SELECT value FROM state WHERE name = ?').get('flushed');
    traffic.countedUntil = Math.min(now, Number(state?.value ?? 0));
    const links = new Map<number, LinkRow | undefined>();
    const oldest = Math.floor(now / minuteMs) - dayMinutes;
    // The latest links come first, as there may not be room for all.
    const latest = this.#database.prepare(
      `SELECT number, id, body FROM link
       JOIN (SELECT link, max(minute) AS last FROM counts WHERE minute >= ? GROUP BY link) ON link = number
       ORDER BY last DESC`,
    );
    for (const { number, id, body } of latest.iterate(oldest)) {
      links.set(Number(number), restoreLink(traffic, String(id), String(body)));
    }
    const counts = this.#database.prepare(
      'SELECT minute, link, count, bytes_out, bytes_in, resets FROM counts WHERE minute >= ? ORDER BY minute',
    );
    let first: number | undefined;
    for (const each of counts.iterate(oldest)) {
      const row = links.get(Number(each.link));
      const time = Number(each.minute) * minuteMs;
      if (!row || time > now) continue;
      first ??= time;
      traffic.links.restore(row, time, {
        ...{ count: Number(each.count), bytesOut: Number(each.bytes_out) },
        ...{ bytesIn: Number(each.bytes_in), resets: Number(each.resets) },
      });
    }
    return first;
  }

  /** The bytes that the file's pages take. */
  get bytes(): number {
    const pragma = (name: string) => Number(this.#database.prepare(`PRAGMA ${name}`).get()![name]);
    return (pragma('page_count') - pragma('freelist_count')) * pragma('page_size');
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }

  #numberOf(row: LinkRow): number {
    const known = this.#numbers.get(row.id);
    if (known !== undefined) return known;
    const number = Number(this.#insertLink.get(row.id, JSON.stringify(storedLink(row)))!.number);
    this.#numbers.set(row.id, number);
    return number;
  }

  #inTransaction(work: () => void): void {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      work();
      this.#database.exec('COMMIT');
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  /** Removes the oldest hour again and again until the file is within its bound. */
  #makeRoom(): void {
    while (this.bytes > this.#bytesMax) {
      const { oldest, newest } = this.#database
        .prepare('SELECT min(minute) AS oldest, max(minute) AS newest FROM counts')
        .get() as { oldest: number | null; newest: number | null };
      if (oldest === null || newest === null || oldest === newest) return;
      const until = Math.min(oldest + 60, newest);
      this.#inTransaction(() => {
        this.#database.prepare('DELETE FROM counts WHERE minute < ?').run(until);
        this.#database.exec('DELETE FROM link WHERE number NOT IN (SELECT link FROM counts)');
      });
      this.#numbers.clear();
      this.#database.exec('PRAGMA incremental_vacuum');
    }
  }

  /** Bounds what waits for a file that cannot be written: ten minutes. */
  #forgetOldest(now: number): void {
    const oldest = Math.floor(now / minuteMs) - 10;
    for (const minute of this.#pending.keys()) if (minute < oldest) this.#pending.delete(minute);
  }
}

function prepareTables(database: DatabaseSync): void {
  // Incremental vacuum has to be chosen before the first table is made.
  database.exec(
    'PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL',
  );
  const found = Number(database.prepare('PRAGMA user_version').get()!.user_version);
  if (found !== 0 && found !== version) {
    throw new Error(`its tables have version ${found}, and this heddle reads version ${version}`);
  }
  database.exec(`
    CREATE TABLE IF NOT EXISTS link (number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, body TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS counts (
      minute INTEGER NOT NULL, link INTEGER NOT NULL, count REAL NOT NULL, bytes_out REAL NOT NULL,
      bytes_in REAL NOT NULL, resets REAL NOT NULL, PRIMARY KEY (minute, link)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
    PRAGMA user_version = ${version};
  `);
}

function storedLink(row: LinkRow): StoredLink {
  const { from, to, protocol, port, service, verdict, reason, rules, direction, firstSeen } = row;
  return {
    from: [from.namespace, from.name, from.kind],
    to: [to.namespace, to.name, to.kind],
    ...{ protocol, port, service, verdict, reason, rules, direction, firstSeen },
  };
}

function restoreLink(traffic: Traffic, id: string, body: string): LinkRow | undefined {
  const { from, to, ...rest } = JSON.parse(body) as StoredLink;
  const ends = { from: traffic.ends.workload(...from), to: traffic.ends.workload(...to) };
  return traffic.links.restoreRow({ id, ...ends, ...rest, direction: rest.direction });
}
