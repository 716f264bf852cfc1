import type { ResourceChange, WatchState } from '@heddle/kube';
import type { Kind, ObjectChange, ObjectRef, ReadObject } from '@heddle/objects';
import type { Platform } from '@heddle/sys';
import { sameValue } from './same-value.ts';
import type { SourceListener, SourceProblem, SourceState } from './source.ts';
import type { Demand } from './watches.ts';

export interface ClusterObjectsOptions {
  readonly platform: Pick<Platform, 'setTimer' | 'monotonicNs' | 'wallTimeMs' | 'log'>;
  readonly demand: Pick<Demand, 'observe' | 'beforeFirst'>;
  readonly listener: Pick<SourceListener, 'onChange' | 'onPhase'>;
  /** Returns the URL of the API server that is in use. */
  readonly server: () => string;
  /** Returns the time of the last event of the server, in milliseconds since 1970; 0: none came yet. */
  readonly lastEventMs: () => number;
}

/**
 * Changes that arrive within this time after a batch form the next batch: a single change is not delayed, and
 * a burst of them costs a bounded number of batches per second.
 */
export const coalesceMs = 5;
const maxProblems = 100;

/**
 * Combines the changes of all watches into batches for the agent. The first batch waits until every watch has
 * listed once, because half of a cluster would remove what an earlier agent has programmed.
 */
export class ClusterObjects implements Disposable {
  readonly #options: ClusterObjectsOptions;
  /** The ids of the watches, and whether each has listed. */
  readonly #listed = new Map<string, boolean>();
  /** The changes for the next batch by kind and key; of several changes of one object the last. */
  readonly #pending = new Map<string, ObjectChange>();
  /** The reasons why objects cannot be used, by kind and key. */
  readonly #invalid = new Map<string, string>();
  #problems: readonly SourceProblem[] = [];
  /** The last version of the objects of kinds with `skipUnchanged`, by kind and key. */
  readonly #last = new Map<string, ObjectChange>();
  readonly #states = new Map<string, WatchState>();
  /** The times at which watches were lost, in milliseconds since 1970. */
  readonly #brokenMs = new Map<string, number>();
  #phase: SourceState['phase'] = 'starting';
  #phaseMs: number;
  #complete = false;
  #lastFlushNs: bigint | undefined;
  #timer: Disposable | undefined;

  constructor(options: ClusterObjectsOptions) {
    this.#options = options;
    this.#phaseMs = options.platform.wallTimeMs();
  }

  get state(): SourceState {
    const [firstBroken] = [...this.#brokenMs].sort(([, a], [, b]) => a - b);
    const broken = firstBroken && this.#states.get(firstBroken[0]);
    const last = this.#options.lastEventMs();
    const path = this.#options.server();
    const reason = broken?.error ?? 'the connection ended';
    return {
      kind: 'cluster',
      path,
      phase: this.#phase,
      sinceMs: firstBroken ? firstBroken[1] : this.#phaseMs,
      ...(last > 0 ? { lastEventMs: last } : {}),
      // The path is shown beside the reason.
      ...(broken ? { reason: reason.replace(`reach ${path}: `, '') } : {}),
      ...(broken?.retryAtMs === undefined ? {} : { retryAtMs: broken.retryAtMs }),
    };
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
  }

  /** Sets the ids of the watches that are open from now on. The first batch waits for new ones. */
  expect(ids: Iterable<string>): void {
    const before = new Map(this.#listed);
    this.#listed.clear();
    for (const id of ids) this.#listed.set(id, before.get(id) ?? false);
    for (const id of [...this.#states.keys()]) {
      if (this.#listed.has(id)) continue;
      this.#states.delete(id);
      this.#brokenMs.delete(id);
    }
    this.#updatePhase();
  }

  /** Takes the changes of a watch; the first call for each watch has its whole list. */
  take(id: string, kind: Kind, changes: readonly ResourceChange<ReadObject>[]): void {
    let isOther = false;
    for (const change of changes) {
      const key = `${kind.name} ${change.key}`;
      const read = readChange(kind, change);
      if (kind.skipUnchanged && !this.#isNews(key, read)) continue;
      this.#options.demand.observe(read);
      if (this.#invalid.delete(key) || read.op === 'invalid') isOther = true;
      if (read.op === 'invalid') this.#invalid.set(key, read.reason);
      this.#pending.set(key, read);
    }
    if (this.#listed.has(id)) this.#listed.set(id, true);
    if (isOther) this.#listProblems();
    this.#flushSoon();
  }

  /** Takes the removal of objects that no watch brings any more. */
  remove(kind: Kind, keys: readonly string[]): void {
    for (const key of keys) {
      const change: ObjectChange = { op: 'delete', ...refOf(kind, key) };
      const label = `${kind.name} ${key}`;
      this.#last.delete(label);
      this.#invalid.delete(label);
      this.#pending.set(label, change);
    }
    this.#listProblems();
    this.#flushSoon();
  }

  setState(id: string, kind: string, state: WatchState): void {
    if (!this.#listed.has(id)) return;
    const before = this.#states.get(id)?.phase;
    this.#states.set(id, state);
    if (before === 'watching' && state.phase === 'listing') {
      this.#options.platform.log('debug', `list every ${kind} anew: ${state.error}`);
    }
    if (state.phase === 'watching') this.#brokenMs.delete(id);
    else if (state.phase === 'waiting' && !this.#brokenMs.has(id)) {
      this.#brokenMs.set(id, state.since);
    }
    this.#updatePhase();
  }

  /** Returns true if the record of an object differs from the last one. */
  #isNews(key: string, change: ObjectChange): boolean {
    const before = this.#last.get(key);
    if (change.op === 'delete') return this.#last.delete(key);
    this.#last.set(key, change);
    if (change.op === 'invalid' || before?.op !== 'set') return true;
    return !sameValue(before.object, change.object);
  }

  #listProblems(): void {
    const problems = Array.from(this.#invalid.values(), (message) => ({
      ...{ file: '', line: 0, message },
    }));
    if (problems.length > maxProblems) {
      const more = problems.splice(maxProblems).length;
      const message = `${more} more objects can't be used (the metric heddle_invalid_objects counts them)`;
      problems.push({ file: '', line: 0, message });
    }
    this.#problems = problems;
  }

  /** Reports at once, or once `coalesceMs` have passed since the last time. */
  #flushSoon(): void {
    if (this.#complete ? this.#pending.size === 0 : !this.#isListed()) return;
    if (this.#timer) return;
    const { platform } = this.#options;
    const now = platform.monotonicNs();
    const passedMs =
      this.#lastFlushNs === undefined ? coalesceMs : Number((now - this.#lastFlushNs) / 1_000_000n);
    if (passedMs >= coalesceMs) {
      this.#flush();
      return;
    }
    this.#timer = platform.setTimer(coalesceMs - passedMs, () => {
      this.#timer = undefined;
      this.#flush();
    });
  }

  /** Returns true if the first batch has everything. Only that one waits for lists. */
  #isListed(): boolean {
    const isWhole = () => [...this.#listed.values()].every(Boolean);
    if (!isWhole()) return false;
    // Features may want more now.
    this.#options.demand.beforeFirst();
    return isWhole();
  }

  #flush(): void {
    const changes = [...this.#pending.values()];
    this.#pending.clear();
    this.#complete = true;
    this.#options.listener.onChange({
      changes,
      complete: true,
      problems: this.#problems,
      notes: [],
    });
    this.#lastFlushNs = this.#options.platform.monotonicNs();
    this.#updatePhase();
  }

  #updatePhase(): void {
    const phase =
      this.#brokenMs.size > 0 ? 'disconnected' : this.#complete ? 'following' : 'starting';
    if (phase === this.#phase) return;
    this.#phase = phase;
    this.#phaseMs = this.#options.platform.wallTimeMs();
    this.#options.listener.onPhase(this.state);
  }
}

function readChange(kind: Kind, change: ResourceChange<ReadObject>): ObjectChange {
  const read = change.op === 'set' ? change.value : undefined;
  if (read?.kind === 'invalid') {
    return { op: 'invalid', ...refOf(kind, change.key), ...read.ref, reason: read.reason };
  }
  // An object that Heddle has no use for may have been one that it used, e.g. with another label.
  if (read?.kind !== 'record') return { op: 'delete', ...refOf(kind, change.key) };
  const { record, triggeredMs } = read;
  return triggeredMs === undefined
    ? { op: 'set', object: record }
    : { op: 'set', object: record, triggeredMs };
}

/** `key` is `namespace/name`, or the name alone. */
function refOf({ name: kind }: Kind, key: string): ObjectRef {
  const slash = key.indexOf('/');
  return { kind, namespace: key.slice(0, Math.max(slash, 0)), name: key.slice(slash + 1) };
}
