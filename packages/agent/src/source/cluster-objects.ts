import {
  type ObjectChange,
  type ObjectKind,
  type ObjectRef,
  objectLabel,
  type ReadObject,
  type SliceRecord,
} from '@heddle/model';
import type { Platform } from '@heddle/sys';
import type { SourceListener, SourceProblem, SourceState } from './source.ts';

/** What happened to one object of a watch. */
export type FeedChange =
  | {
      readonly op: 'set';
      readonly namespace: string;
      readonly name: string;
      readonly value: ReadObject;
    }
  | { readonly op: 'delete'; readonly namespace: string; readonly name: string };

/** How a watch is doing. */
export interface FeedState {
  readonly phase: 'listing' | 'watching' | 'waiting';
  /** Since when, in milliseconds since 1970. */
  readonly since: number;
  readonly lastEventMs?: number | undefined;
  /** Why it failed last. */
  readonly error?: string | undefined;
  readonly retryAtMs?: number | undefined;
}

export interface ApiServerAddress {
  readonly host: string;
  readonly port: number;
}

export interface ClusterObjectsOptions {
  readonly platform: Pick<Platform, 'setTimer' | 'monotonicNs' | 'wallTimeMs'>;
  /** Name of the own Node object. */
  readonly node: string;
  readonly listener: SourceListener;
  /** URL of the API server that is in use. */
  readonly server: () => string;
  /** Called with the endpoints of the service default/kubernetes whenever they change. */
  readonly onApiServers: (addresses: readonly ApiServerAddress[]) => void;
}

/**
 * What comes within this time of the last batch makes one batch: a change that comes alone is not
 * held up, and a storm of them costs no more than so many batches a second.
 */
export const coalesceMs = 5;
const mostProblems = 100;
const kinds: readonly ObjectKind[] = ['service', 'slice', 'node'];

/**
 * Makes batches for the agent out of three watches: Services, EndpointSlices and the own Node.
 * Nothing is given out until each was listed once, because half of a cluster would take what an
 * earlier agent left out of force.
 */
export class ClusterObjects implements Disposable {
  readonly #options: ClusterObjectsOptions;
  readonly #listed = new Set<ObjectKind>();
  /** What was not given out yet, by label; of several changes of one object the last. */
  readonly #pending = new Map<string, ObjectChange>();
  /** Why objects can't be used, by label. */
  readonly #invalid = new Map<string, string>();
  #problems: readonly SourceProblem[] = [];
  #hasNode = false;
  readonly #apiServerSlices = new Map<string, SliceRecord>();
  readonly #states = new Map<ObjectKind, FeedState>();
  /** Since when watches don't work, in milliseconds since 1970. */
  readonly #brokenMs = new Map<ObjectKind, number>();
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
    const last = Math.max(...Array.from(this.#states.values(), (each) => each.lastEventMs ?? 0));
    return {
      kind: 'cluster',
      path: this.#options.server(),
      phase: this.#phase,
      sinceMs: firstBroken ? firstBroken[1] : this.#phaseMs,
      ...(last > 0 ? { lastEventMs: last } : {}),
      ...(broken ? { reason: broken.error ?? 'the connection ended' } : {}),
      ...(broken?.retryAtMs === undefined ? {} : { retryAtMs: broken.retryAtMs }),
    };
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
  }

  /** Takes what a watch tells; the first call for each kind is its whole list. */
  take(kind: ObjectKind, changes: readonly FeedChange[]): void {
    let isOther = !this.#listed.has(kind) || kind === 'node';
    for (const change of changes) {
      const ref = { kind, namespace: change.namespace, name: change.name };
      const label = objectLabel(ref);
      const read = this.#read(ref, change);
      if (this.#invalid.delete(label) || read.op === 'invalid') isOther = true;
      if (read.op === 'invalid') this.#invalid.set(label, read.reason);
      this.#pending.set(label, read);
    }
    this.#listed.add(kind);
    if (isOther) this.#listProblems();
    if (this.#listed.size < kinds.length) return;
    this.#flushSoon();
  }

  setState(kind: ObjectKind, state: FeedState): void {
    this.#states.set(kind, state);
    if (state.phase === 'watching') this.#brokenMs.delete(kind);
    else if (state.phase === 'waiting' && !this.#brokenMs.has(kind)) {
      this.#brokenMs.set(kind, state.since);
    }
    this.#updatePhase();
  }

  #read(ref: ObjectRef, change: FeedChange): ObjectChange {
    const read = change.op === 'set' ? change.value : undefined;
    if (read?.kind === 'invalid') {
      return { op: 'invalid', ...ref, ...read.ref, reason: read.reason };
    }
    const record = read && read.kind !== 'ignored' ? read.record : undefined;
    if (ref.kind === 'node') this.#hasNode = record !== undefined;
    if (ref.kind === 'slice') {
      this.#followApiServers(ref, record?.kind === 'slice' ? record : undefined);
    }
    // One that Heddle has no use for may have been served before, e.g. with another label.
    if (!record) return { op: 'delete', ...ref };
    const triggeredMs = read?.kind === 'slice' ? read.triggeredMs : undefined;
    return triggeredMs === undefined
      ? { op: 'set', object: record }
      : { op: 'set', object: record, triggeredMs };
  }

  #followApiServers({ namespace, name }: ObjectRef, slice: SliceRecord | undefined): void {
    if (namespace !== 'default') return;
    const slices = this.#apiServerSlices;
    if (slice?.service === 'kubernetes') slices.set(name, slice);
    else if (!slices.delete(name)) return;
    const addresses = [...slices.values()].flatMap(({ endpoints, ports }) =>
      endpoints.flatMap(({ ready, address }) =>
        ready ? ports.map(({ port }) => ({ host: address, port })) : [],
      ),
    );
    // None at all is no place to go to; those known so far are better than nothing.
    if (addresses.length > 0) this.#options.onApiServers(addresses);
  }

  #listProblems(): void {
    const problems = Array.from(this.#invalid.values(), (message) => ({
      ...{ file: '', line: 0, message },
    }));
    if (problems.length > mostProblems) {
      const more = problems.splice(mostProblems).length;
      const message = `${more} more objects can't be used (the metric heddle_invalid_objects counts them)`;
      problems.push({ file: '', line: 0, message });
    }
    if (this.#listed.has('node') && !this.#hasNode) {
      const message = `Node ${this.#options.node} is not in the cluster: this node's zone is not known (give the name of its Node object with --node)`;
      problems.push({ file: '', line: 0, message });
    }
    this.#problems = problems;
  }

  /** At once, or once `coalesceMs` have passed since the last time. */
  #flushSoon(): void {
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
