import type { Damage } from '@heddle/datapath';
import { type ObjectChange, readObjects } from '@heddle/objects';
import type { ServiceRow } from '@heddle/services';
import type { NodeDatapath } from '../src/datapath-part.ts';
import type { FeaturesDatapath } from '../src/features/index.ts';
import type { PodsDatapath, ProgrammedPod } from '../src/features/pods/datapath.ts';
import type {
  ServerAddress,
  Source,
  SourceListener,
  SourceProblem,
  SourceState,
} from '../src/source/index.ts';

/** Checks and repairs whose results a test sets. */
export class MemoryIntegrity {
  /** Hooks and pins that other processes have changed. */
  damages: readonly Damage[] = [];
  /** The damage that the next audit finds. */
  changedMaps: readonly Damage[] = [];
  /** The error with which repairs fail. */
  repairError: Error | undefined;
  readonly mapCount = 10;
  repaired = 0;

  checkAttachments(): Damage[] {
    return [...this.damages];
  }

  auditNext(): Damage[] {
    return [...this.changedMaps];
  }

  repair(damages: readonly Damage[]) {
    if (this.repairError) return { left: damages, error: this.repairError };
    this.damages = [];
    this.changedMaps = [];
    this.repaired++;
    return { left: [], error: undefined };
  }
}

/** The pods of a datapath whose kernel is a Map. */
export class MemoryPods implements PodsDatapath {
  readonly programmed = new Map<number, ProgrammedPod>();
  /** The error with which programming fails. */
  setError: Error | undefined;
  /** Called before a pod is programmed. */
  onSet: (pod: ProgrammedPod) => void = () => {};
  /** Returns true if an address finds room. */
  hasRoom: (address: string) => boolean = () => true;
  /** Returns true if the kernel has interfaces of that kind. */
  supports: PodsDatapath['pods']['supports'] = () => true;

  get pods(): PodsDatapath['pods'] {
    return this;
  }

  set(pod: ProgrammedPod): void {
    if (this.setError) throw this.setError;
    this.onSet(pod);
    const { ifindex, kind, mac, addresses, mtu } = pod;
    this.programmed.set(ifindex, { ifindex, kind, mac, addresses, mtu });
  }

  remove(ifindex: number): void {
    this.programmed.delete(ifindex);
  }

  problems(pods: readonly ProgrammedPod[]): string[][] {
    return pods.map(({ ifindex }) =>
      this.programmed.has(ifindex) ? [] : [`interface ${ifindex} is not programmed`],
    );
  }

  prune(ifindexes: ReadonlySet<number>): void {
    for (const each of this.programmed.keys()) if (!ifindexes.has(each)) this.remove(each);
  }
}

/** A datapath whose kernel is a Map. */
export class MemoryDatapath implements NodeDatapath, FeaturesDatapath {
  readonly programmed = new Map<string, ServiceRow>();
  /** Keys that cannot be programmed, and the reasons. */
  readonly failing = new Map<string, string>();
  pruned = 0;
  tracked = false;
  disposed = false;

  get adopted(): boolean {
    return this.programmed.size > 0;
  }

  status() {
    return {
      abi: 1,
      maps: [{ name: 'services', entries: this.programmed.size, maxEntries: 100 }],
      links: [{ hook: 'connect4', attached: true }],
      missing: [],
      adopted: this.adopted,
      repaired: 0,
      migrated: [],
      socketsDestroyed: 0,
      nat: this.nat.status(),
      xdp: [],
      traffic: { connections: 5, packets: 20, bytes: 2000 },
      tracked: this.tracked,
    };
  }

  readonly services: FeaturesDatapath['services'] = {
    update: (rows) =>
      rows.map((row) => {
        const reason = this.failing.get(row.key);
        if (reason !== undefined) return new Error(reason);
        this.programmed.set(row.key, row);
        return undefined;
      }),
    remove: (keys) =>
      keys.map((key) => {
        this.programmed.delete(key);
        return undefined;
      }),
    prune: (desired) => {
      this.pruned++;
      const keys = new Set(Array.from(desired, (row) => row.key));
      for (const key of this.programmed.keys()) if (!keys.has(key)) this.programmed.delete(key);
    },
    dropFrontends() {},
    backendCounters: (rowKey) =>
      (this.programmed.get(rowKey)?.backends ?? []).map(({ address, port, state }, i) => ({
        address,
        port,
        state,
        connections: 10 + i,
        active: i,
        packets: 0,
        bytes: 0,
      })),
    rowRefusals: (rowKey) =>
      this.programmed.has(rowKey) ? [{ reason: 'no endpoints', count: 4 }] : [],
    refusalCounts: () => this.refusalCounts(),
  };

  *refusalCounts() {
    for (const rowKey of this.programmed.keys()) yield { rowKey, reason: 'no endpoints', count: 4 };
  }

  readonly dnsAnswers: FeaturesDatapath['dnsAnswers'] = {
    watch: () => ({ [Symbol.dispose]: () => {} }),
  };

  readonly nat: (NodeDatapath & FeaturesDatapath)['nat'] = {
    setTunnelEnds() {},
    setTracked: (tracked) => {
      this.tracked = tracked;
    },
    *flows() {},
    endFlow: () => false,
    status() {
      const table = { flows: 0, maxFlows: 100, unanswered: 0, unansweredLimit: 25 };
      const none = { fullest: [], evicted: [], notBelieved: [], unobserved: 0 };
      return { ...table, ...none, ports: 1000, portPressure: 0 };
    },
    destinations: () => [],
  };

  readonly pods = new MemoryPods();

  readonly policy: FeaturesDatapath['policy'] = undefined;
  readonly verdicts: FeaturesDatapath['verdicts'] = undefined;

  readonly drops: (NodeDatapath & FeaturesDatapath)['drops'] = {
    counts: () => [{ reason: 'no endpoints', count: 2 }],
    refusals: () => [{ reason: 'no endpoints', count: 3 }],
    watch: () => ({ [Symbol.dispose]() {} }),
  };

  readonly nodeRoutes: FeaturesDatapath['nodeRoutes'] = {
    set() {},
    remove() {},
    prune() {},
    setTunnel() {},
    setMasquerade() {},
  };

  readonly bandwidth: FeaturesDatapath['bandwidth'] = {
    set() {},
    remove() {},
    prune() {},
    setPaced() {},
  };

  readonly integrity = new MemoryIntegrity();

  released = false;

  release(): void {
    this.released = true;
  }

  setNode() {}

  [Symbol.dispose](): void {
    this.disposed = true;
  }
}

/** Pins that no other agent wants. */
export const freePins = () => ({ keep() {}, [Symbol.dispose]() {} });

/** A source that reports what a test gives it. */
export class ScriptedSource implements Source {
  readonly content = 'manifests';
  readonly #listener: SourceListener;
  #complete = false;
  state: SourceState = { kind: 'folder', path: '/manifests', phase: 'following', sinceMs: 0 };
  problems: SourceProblem[] = [];
  apiServers: ServerAddress[] = [];
  disposed = false;

  constructor(listener: SourceListener) {
    this.#listener = listener;
  }

  /** Changes the phase. */
  setState(state: Partial<SourceState>): void {
    this.state = { ...this.state, ...state };
    this.#listener.onPhase(this.state);
  }

  rewatch(): void {}

  setApiServers(): void {}

  /** Reports API objects (parsed JSON). */
  set(...objects: unknown[]): void {
    this.#report(
      objects.flatMap((object): ObjectChange[] =>
        readObjects(object).flatMap((read): ObjectChange[] => {
          if (read.kind === 'ignored') return [];
          if (read.kind === 'record') {
            const { record, triggeredMs } = read;
            const change = { op: 'set', object: record } as const;
            return [triggeredMs === undefined ? change : { ...change, triggeredMs }];
          }
          this.problems.push({ file: 'x.yaml', line: 1, message: read.reason });
          return read.ref ? [{ op: 'invalid', ...read.ref, reason: read.reason }] : [];
        }),
      ),
    );
  }

  delete(kind: 'service' | 'slice' | 'pod', name: string): void {
    this.#report([{ op: 'delete', kind, namespace: 'default', name }]);
  }

  /** Reports API objects, and that they are the last ones. */
  complete(...objects: unknown[]): void {
    this.#complete = true;
    this.set(...objects);
  }

  note(message: string): void {
    this.#report([], [{ file: 'x.yaml', line: 2, message }]);
  }

  #report(changes: readonly ObjectChange[], notes: readonly SourceProblem[] = []): void {
    const { problems } = this;
    this.#listener.onChange({ changes, complete: this.#complete, problems: [...problems], notes });
  }

  [Symbol.dispose](): void {
    this.disposed = true;
  }
}

/** Returns a Service with one port. */
export function service(name: string, clusterIP: string, port: unknown = 80) {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'default', name },
    spec: { clusterIP, clusterIPs: [clusterIP], ports: [{ name: 'http', protocol: 'TCP', port }] },
  };
}

/** Returns an EndpointSlice with ready endpoints for such a Service. */
export function slice(name: string, addresses: readonly string[]) {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      namespace: 'default',
      name: `${name}-1`,
      labels: { 'kubernetes.io/service-name': name },
    },
    addressType: 'IPv4',
    ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
    endpoints: addresses.map((address) => ({
      addresses: [address],
      conditions: { ready: true, serving: true, terminating: false },
    })),
  };
}

/** Returns a Pod on node `n1` with TCP port 8080 at the node's port 8081. */
export function pod(name: string, address: string, hostPort: unknown = 8081) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace: 'default', name },
    spec: { nodeName: 'n1', containers: [{ ports: [{ containerPort: 8080, hostPort }] }] },
    status: { phase: 'Running', podIP: address, podIPs: [{ ip: address }] },
  };
}
