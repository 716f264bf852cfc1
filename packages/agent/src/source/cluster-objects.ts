import type { DiscoveredServer, ResourceChange, WatchState } from '@heddle/kube';
import type {
  NodeRecord,
  ObjectChange,
  ObjectKind,
  ObjectRef,
  ReadObject,
  SliceRecord,
} from '@heddle/objects';
import { wantsTunnels } from '@heddle/services';
import type { Platform } from '@heddle/sys';
import type { SourceListener, SourceProblem, SourceState } from './source.ts';

export interface ClusterObjectsOptions {
  readonly platform: Pick<Platform, 'setTimer' | 'monotonicNs' | 'wallTimeMs' | 'log'>;
  /** Name of the own Node object. */
  readonly node: string;
  readonly listener: SourceListener;
  /** URL of the API server that is in use. */
  readonly server: () => string;
  /** When something last came from it, in milliseconds since 1970; 0: never. */
  readonly lastEventMs: () => number;
  /** Called with the endpoints of the service default/kubernetes whenever they change. */
  readonly onApiServers: (addresses: readonly DiscoveredServer[]) => void;
  /** Called once, when a service first asks for tunnels to other nodes: now all Nodes are to be told. */
  readonly onTunnelsWanted?: () => void;
}

/**
 * What comes within this time of the last batch makes one batch: a change that comes alone is not
 * held up, and a storm of them costs no more than so many batches a second.
 */
export const coalesceMs = 5;
const mostProblems = 100;
const kinds: readonly ObjectKind[] = ['service', 'slice', 'node', 'pod'];

/**
 * Makes batches for the agent out of four watches: Services, EndpointSlices, Nodes and the own one's
 * Pods. Nothing is given out until each was listed once, because half of a cluster would take what an
 * earlier agent left out of force.
 */
export class ClusterObjects implements Disposable {
  readonly #options: ClusterObjectsOptions;
  readonly #listed = new Set<ObjectKind>();
  /** What was not given out yet, by kind and key; of several changes of one object the last. */
  readonly #pending = new Map<string, ObjectChange>();
  /** Why objects can't be used, by kind and key. */
  readonly #invalid = new Map<string, string>();
  #problems: readonly SourceProblem[] = [];
  /** What was last told of Nodes: they change all the time, but rarely in what is kept of them. */
  readonly #nodes = new Map<string, NodeRecord>();
  #wantsTunnels = false;
  readonly #apiServerSlices = new Map<string, SliceRecord>();
  readonly #states = new Map<ObjectKind, WatchState>();
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
    const last = this.#options.lastEventMs();
    const path = this.#options.server();
    const reason = broken?.error ?? 'the connection ended';
    return {
      kind: 'cluster',
      path,
      phase: this.#phase,
      sinceMs: firstBroken ? firstBroken[1] : this.#phaseMs,
      ...(last > 0 ? { lastEventMs: last } : {}),
      // Whoever shows it says from where.
      ...(broken ? { reason: reason.replace(`reach ${path}: `, '') } : {}),
      ...(broken?.retryAtMs === undefined ? {} : { retryAtMs: broken.retryAtMs }),
    };
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
  }

  /** Takes what a watch tells; the first call for each kind is its whole list. */
  take(kind: ObjectKind, changes: readonly ResourceChange<ReadObject>[]): void {
    let isOther = !this.#listed.has(kind) || kind === 'node';
    for (const change of changes) {
      const key = `${kind} ${change.key}`;
      const read = this.#read(kind, change);
      if (kind === 'node' && !this.#isNews(change.key, read)) continue;
      if (this.#invalid.delete(key) || read.op === 'invalid') isOther = true;
      if (read.op === 'invalid') this.#invalid.set(key, read.reason);
      this.#pending.set(key, read);
    }
    this.#listed.add(kind);
    // The first batch waits for them; later ones must not depend on them.
    if (kind === 'service' && this.#seeTunnels(changes) && !this.#complete) {
      this.#listed.delete('node');
    }
    if (isOther) this.#listProblems();
    if (this.#listed.size < kinds.length) return;
    if (this.#complete && this.#pending.size === 0) return;
    this.#flushSoon();
  }

  setState(kind: ObjectKind, state: WatchState): void {
    const before = this.#states.get(kind)?.phase;
    this.#states.set(kind, state);
    if (before === 'watching' && state.phase === 'listing') {
      this.#options.platform.log('debug', `list every ${kind} anew: ${state.error}`);
    }
    if (state.phase === 'watching') this.#brokenMs.delete(kind);
    else if (state.phase === 'waiting' && !this.#brokenMs.has(kind)) {
      this.#brokenMs.set(kind, state.since);
    }
    this.#updatePhase();
  }

  #read(kind: ObjectKind, change: ResourceChange<ReadObject>): ObjectChange {
    const read = change.op === 'set' ? change.value : undefined;
    if (read?.kind === 'invalid') {
      return { op: 'invalid', ...refOf(kind, change.key), ...read.ref, reason: read.reason };
    }
    const record = read && read.kind !== 'ignored' ? read.record : undefined;
    if (kind === 'slice') {
      this.#followApiServers(change.key, record?.kind === 'slice' ? record : undefined);
    }
    // One that Heddle has no use for may have been served before, e.g. with another label.
    if (!record) return { op: 'delete', ...refOf(kind, change.key) };
    const triggeredMs = read?.kind === 'slice' ? read.triggeredMs : undefined;
    return triggeredMs === undefined
      ? { op: 'set', object: record }
      : { op: 'set', object: record, triggeredMs };
  }

  /** Whether a Node is another than was told. */
  #isNews(key: string, change: ObjectChange): boolean {
    const before = this.#nodes.get(key);
    if (change.op === 'delete') return this.#nodes.delete(key);
    if (change.op === 'invalid') return true;
    const node = change.object as NodeRecord;
    this.#nodes.set(key, node);
    return (
      before?.zone !== node.zone ||
      before.leaving !== node.leaving ||
      before.addresses.join() !== node.addresses.join() ||
      before.nodeIPs.join() !== node.nodeIPs.join() ||
      this.#invalid.has(`node ${key}`)
    );
  }

  /** Whether one of these services is the first that asks for tunnels. */
  #seeTunnels(changes: readonly ResourceChange<ReadObject>[]): boolean {
    const { onTunnelsWanted } = this.#options;
    if (this.#wantsTunnels || !onTunnelsWanted) return false;
    this.#wantsTunnels = changes.some((change) => {
      const read = change.op === 'set' ? change.value : undefined;
      return read?.kind === 'service' && wantsTunnels(read.record, 'snat');
    });
    if (this.#wantsTunnels) onTunnelsWanted();
    return this.#wantsTunnels;
  }

  #followApiServers(key: string, slice: SliceRecord | undefined): void {
    const slices = this.#apiServerSlices;
    if (slice?.service === 'kubernetes' && slice.namespace === 'default') slices.set(key, slice);
    else if (!slices.delete(key)) return;
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
    if (this.#listed.has('node') && !this.#nodes.has(this.#options.node)) {
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

/** `key` is `namespace/name`, or the name alone. */
function refOf(kind: ObjectKind, key: string): ObjectRef {
  const slash = key.indexOf('/');
  return { kind, namespace: key.slice(0, Math.max(slash, 0)), name: key.slice(slash + 1) };
}
