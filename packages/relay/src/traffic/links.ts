import { createHash } from 'node:crypto';
import type { RuleRef } from '@heddle/web/contract';
import type { FilterEnd } from '@heddle/web/filter';
import { Buckets, rowBytes, type Sums } from './buckets.ts';
import type { LinkRow, RelayFlow, Workload } from './model.ts';

/** A pause of this length ends a run of drops, in milliseconds. */
const runMs = 600_000;
const dayMs = 86_400_000;
/** The bytes that a row takes besides its buckets. */
const restBytes = 1200;
const nodesMax = 64;

/** Counts that were added to a row. */
export interface Counted extends Sums {
  readonly row: LinkRow;
  /** Milliseconds since 1970. */
  readonly time: number;
}

/** The links that flows were counted by. Rows beyond the limit are summed up in `left`. */
export class LinkTable {
  readonly #rows = new Map<string, LinkRow>();
  readonly rowsMax: number;
  /** Receives all that is counted, e.g. to keep it in a file. */
  onCounted: ((counted: Counted) => void) | undefined;
  /** Counts of links beyond the limit. */
  readonly left = { links: 0, connections: 0 };

  /** `bytes` bounds the memory of all rows. */
  constructor(bytes: number) {
    this.rowsMax = Math.max(16, Math.min(20_000, Math.floor(bytes / (rowBytes + restBytes))));
  }

  get size(): number {
    return this.#rows.size;
  }

  get rows(): Iterable<LinkRow> {
    return this.#rows.values();
  }

  /** Counts a flow at a time in milliseconds since 1970. Returns its row, or undefined beyond the limit. */
  add(flow: RelayFlow, time: number): LinkRow | undefined {
    const row = this.rowOf(flow, time);
    const isForwarded = flow.verdict === 'forwarded';
    const count = isForwarded ? (flow.isNew ? 1 : 0) : Math.max(1, flow.packets);
    if (!row) {
      this.left.connections += count;
      return undefined;
    }
    if (time - row.last > runMs) row.since = time;
    if (time > row.last) row.last = time;
    if (row.nodes.size < nodesMax) row.nodes.add(flow.flow.node);
    const isReset = isForwarded && (flow.flow.flags & 0x04) !== 0;
    const { bytes, isReply } = flow;
    const [bytesOut, bytesIn, resets] = [isReply ? 0 : bytes, isReply ? bytes : 0, isReset ? 1 : 0];
    row.buckets.add(time, count, bytesOut, bytesIn, resets);
    this.onCounted?.({ row, time, count, bytesOut, bytesIn, resets });
    return row;
  }

  /** Returns the row of a flow; it is made if it is new. */
  rowOf(flow: RelayFlow, time: number): LinkRow | undefined {
    const { from, to, protocol, port, service, verdict, reason, rules } = flow;
    const direction = verdict === 'forwarded' ? undefined : flow.flow.direction;
    const key = rowKey({
      ...{ from: from.workload, to: to.workload, protocol, port, service, verdict, reason },
      ...{ direction, rules },
    });
    const known = this.#rows.get(key);
    if (known) return known;
    if (this.#rows.size >= this.rowsMax && !this.#makeRoom(time)) {
      this.left.links++;
      return undefined;
    }
    const end = ({ namespace, name, kind, labels, hosts }: RelayFlow['from']): FilterEnd => ({
      ...{ namespace, name, kind, labels: labels ?? [] },
      ...(hosts ? { hosts } : {}),
    });
    const id = stableId([
      ...[from.namespace, from.kind, from.name, to.namespace, to.kind, to.name],
      ...[String(protocol), String(port)],
      ...[service, verdict, String(reason), direction ?? '', rulesKey(rules)],
    ]);
    const row = newRow(
      {
        ...{ id, from: from.workload, to: to.workload, protocol, port, service, verdict, reason },
        ...{ rules, direction, firstSeen: time },
      },
      { from: end(from), to: end(to) },
    );
    this.#rows.set(key, row);
    return row;
  }

  /** Adds a row that an earlier run had, or returns the one that is there; undefined beyond the limit. */
  restoreRow(stored: StoredRow): LinkRow | undefined {
    const key = rowKey(stored);
    const known = this.#rows.get(key);
    if (known || this.#rows.size >= this.rowsMax) return known;
    const row = newRow(stored, { from: endOf(stored.from), to: endOf(stored.to) });
    this.#rows.set(key, row);
    return row;
  }

  /** Adds counts of an earlier run to a row. */
  restore(row: LinkRow, time: number, { count, bytesOut, bytesIn, resets }: Sums): void {
    if (time - row.last > runMs) row.since = time;
    row.last = Math.max(row.last, time);
    row.buckets.add(time, count, bytesOut, bytesIn, resets);
  }

  /** Forgets rows that were not seen for a day. Returns true if there is room. */
  #makeRoom(now: number): boolean {
    if (now - this.#looked < 10_000) return this.#rows.size < this.rowsMax;
    this.#looked = now;
    for (const [key, { last }] of this.#rows) if (last < now - dayMs) this.#rows.delete(key);
    return this.#rows.size < this.rowsMax;
  }
  #looked = 0;
}

/** The properties of a row that do not change. */
export type StoredRow = Omit<LinkRow, 'subject' | 'last' | 'since' | 'nodes' | 'buckets'>;

function newRow(
  stored: StoredRow,
  ends: { readonly from: FilterEnd; readonly to: FilterEnd },
): LinkRow {
  const { service, protocol, port, verdict, reason, rules, firstSeen } = stored;
  return {
    ...stored,
    ...{ last: firstSeen, since: firstSeen, nodes: new Set(), buckets: new Buckets() },
    subject: { ...ends, service, protocol, port, verdict, reason, rules, firstSeen },
  };
}

function endOf({ namespace, name, kind }: Workload): FilterEnd {
  return { namespace, name, kind };
}

function rowKey(row: Omit<StoredRow, 'id' | 'firstSeen'>): string {
  const { from, to, protocol, port, service, verdict, reason, direction, rules } = row;
  return `${from.id} ${to.id} ${protocol} ${port} ${service} ${verdict[0]}${reason} ${direction?.[0] ?? ''} ${rulesKey(rules)}`;
}

const ruleKeys = new WeakMap<readonly RuleRef[], string>();

/** Returns a text that is equal for equal rules. */
export function rulesKey(rules: readonly RuleRef[]): string {
  if (rules.length === 0) return '';
  const known = ruleKeys.get(rules);
  if (known !== undefined) return known;
  const key = rules.map(ruleText).join(',');
  ruleKeys.set(rules, key);
  return key;
}

/** Returns a rule as the rows of flows have it: KIND NAMESPACE/NAME DIRECTION/RULE. */
export function ruleText({ policy, rule, direction }: RuleRef): string {
  const name = policy.namespace === '' ? policy.name : `${policy.namespace}/${policy.name}`;
  return `${policy.kind} ${name} ${direction}${rule === undefined ? '' : `/${rule}`}`;
}

function stableId(parts: readonly string[]): string {
  return createHash('sha256').update(parts.join('\n')).digest('base64url').slice(0, 12);
}

/** Returns sums of nothing. */
export function noSums(): Sums {
  return { count: 0, bytesOut: 0, bytesIn: 0, resets: 0 };
}
