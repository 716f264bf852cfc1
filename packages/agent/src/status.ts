import type { DatapathStatus, FlowEntry, PortUse, ReasonCount } from '@heddle/datapath';
import type { HttpServerStatus } from '@heddle/rpc';
import type { Config } from './config.ts';
import type { IntegrityStatus } from './integrity-watch.ts';
import type { SourceProblem, SourceState } from './source/index.ts';

// What the control socket answers with. The shapes are stable: fields are added, not changed.
// Times are ISO 8601 text in UTC.

/** Whether a row is in force in the kernel, and why not. */
export interface RowState {
  readonly status: 'pending' | 'done' | 'failed';
  /** Why it failed. */
  readonly reason?: string;
  /** When it came into this state. */
  readonly since: string;
}

/** One port of a service in one address family, as `service.list` gives it. */
export interface ServiceEntry extends RowState {
  /** `namespace/name:port/protocol/family[/external|/outside]`. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly port: string;
  readonly protocol: string;
  readonly family: string;
  readonly frontends: readonly { kind: string; address: string; port: number }[];
  /** How many there are; `draining` ones get nothing new. */
  readonly backends: { readonly active: number; readonly draining: number };
  readonly algorithm: string;
  /** `snat` or `dsr`: how packets from outside get to backends of other nodes. */
  readonly forwarding: string;
  readonly affinitySeconds: number;
  /** Ranges of clients that the load balancer's address serves; absent: all. */
  readonly sourceRanges?: readonly string[];
  /** What of the service was refused, in sentences. */
  readonly problems: readonly string[];
}

/** A backend of one row, as `backend.list` gives it. */
export interface BackendEntry {
  /** Key of the row. */
  readonly service: string;
  readonly address: string;
  readonly port: number;
  readonly state: string;
  readonly weight: number;
  /** How often it was chosen; absent before the row is in force. */
  readonly connections?: number;
  /** Connections that are open; counted for the algorithm least-connections only. */
  readonly active?: number;
  /** From and to outside, counted on the node's devices. */
  readonly packets?: number;
  readonly bytes?: number;
}

/** A pod of this node with addresses of its own, as `pod.list` gives it. */
export interface PodEntry {
  readonly namespace: string;
  readonly name: string;
  readonly addresses: readonly string[];
}

/** What load balancers are told at a service's healthCheckNodePort. */
export interface HealthCheckEntry {
  /** Host order. */
  readonly port: number;
  /** Ready endpoints on this node; with none, load balancers are told to pass the node by. */
  readonly localEndpoints: number;
  readonly listening: boolean;
  /** Why the agent doesn't listen there. */
  readonly problem?: string;
}

/** A row with its backends, as `service.get` gives it. */
export interface ServiceDetail extends ServiceEntry {
  readonly endpoints: readonly BackendEntry[];
  /** Connections and packets that were refused since it is in force, by reason, most first. */
  readonly refusals: readonly ReasonCount[];
  /** That of the whole service, at the first of its rows. */
  readonly healthCheck?: HealthCheckEntry;
}

/** A page of a list. */
export interface Page<Item> {
  readonly items: readonly Item[];
  /** `after` of the next page; absent on the last. */
  readonly next?: string;
}

/** A flow from outside, as `flow.list` gives it. */
export interface FlowItem extends FlowEntry {
  /** `namespace/name` of the service whose address the client sends to; absent when it is gone. */
  readonly service?: string;
}

/** The result of `flow.flush` on a page of the flow table. */
export interface FlushCount {
  /** Flows that the filters match. */
  readonly matched: number;
  /** The number of them that it ended; with `dryRun` none. */
  readonly ended: number;
}

/** Ports that are taken towards one backend, as `nat.list` gives them. */
export interface NatDestination extends PortUse {
  /** How many there are. */
  readonly ports: number;
}

/** What the agent runs with, defaults filled in. */
export type EffectiveConfig = Config & {
  readonly node: string;
  readonly cgroup: string;
  readonly healthAddress: string;
  readonly metricsAddress: string;
};

export interface AgentStatus {
  readonly version: string;
  readonly node: string;
  readonly pid: number;
  readonly started: string;
  readonly residentBytes?: number;
  /** The node's own addresses at which NodePorts and hostPorts are served. */
  readonly addresses: readonly string[];
  readonly source: {
    readonly kind: SourceState['kind'];
    /** The folder, or the URL of the API server that is in use or is tried. */
    readonly path: string;
    /** `starting` until all was read once; `disconnected`: what is in force stays as it is. */
    readonly phase: SourceState['phase'];
    /** Since when it is in this phase. */
    readonly since: string;
    /** When it last heard of an object. */
    readonly lastEvent?: string;
    /** Why it is disconnected. */
    readonly reason?: string;
    /** When it tries again. */
    readonly retryAt?: string;
    /** Whether everything could be read and used once; nothing is pruned before. */
    readonly complete: boolean;
    readonly problems: readonly SourceProblem[];
  };
  /** Health and metrics, unless they are off. */
  readonly servers: readonly ({ readonly name: 'health' | 'metrics' } & HttpServerStatus)[];
  /** Ports for health checks of services: how many are served, and how many could not be. */
  readonly healthChecks: { readonly listening: number; readonly failed: number };
  /**
   * True when all objects were read once. Before that `rows` say nothing: the kernel goes on serving what an
   * earlier agent programmed, which `datapath.maps` count.
   */
  readonly synced: boolean;
  /** Rows by state. */
  readonly rows: { readonly done: number; readonly pending: number; readonly failed: number };
  /** The state of what was programmed in the kernel. */
  readonly integrity: IntegrityStatus;
  readonly datapath: DatapathStatus;
  /** Connections refused by the kernel half, by reason. */
  readonly refusals: readonly { reason: string; count: number }[];
  /** Packets dropped on the node's devices, by reason. */
  readonly drops: readonly { reason: string; count: number }[];
  /** What will be trouble unless somebody acts, in sentences with the remedy. */
  readonly warnings: readonly string[];
}
