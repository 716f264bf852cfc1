import type { ReasonCount } from '@heddle/datapath';
import type { RowState } from '../../status.ts';

// The answers of the control methods about services. The shapes are stable: fields are added, not changed.
// Times are ISO 8601 text in UTC.

/** The fields of AgentStatus that services add. */
export interface ServicesStatus {
  /** The node's own addresses at which NodePorts and hostPorts are served. */
  readonly addresses: readonly string[];
  /** Ports for health checks of services: how many are served, and how many could not be. */
  readonly healthChecks: { readonly listening: number; readonly failed: number };
  /** Connections that the BPF programs refused, by reason. */
  readonly refusals: readonly ReasonCount[];
}

/** One port of a service in one address family, as `service.list` returns it. */
export interface ServiceEntry extends RowState {
  /** `namespace/name:port/protocol/family[/external|/outside]`. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly port: string;
  readonly protocol: string;
  readonly family: string;
  readonly frontends: readonly { kind: string; address: string; port: number }[];
  /** The numbers of backends; `draining` ones get no new connections. */
  readonly backends: { readonly active: number; readonly draining: number };
  readonly algorithm: string;
  /** `snat` or `dsr`: how external packets reach backends of other nodes. */
  readonly forwarding: string;
  readonly affinitySeconds: number;
  /** Ranges of clients that the load balancer's address serves. If absent, it serves all clients. */
  readonly sourceRanges?: readonly string[];
  /** The parts of the service that were refused, in sentences. */
  readonly problems: readonly string[];
}

/** A backend of one row, as `backend.list` returns it. */
export interface BackendEntry {
  /** Key of the row. */
  readonly service: string;
  readonly address: string;
  readonly port: number;
  readonly state: string;
  readonly weight: number;
  /** The number of times it was chosen; absent before the row is programmed. */
  readonly connections?: number;
  /** Connections that are open; counted for the algorithm least-connections only. */
  readonly active?: number;
  /** External traffic, both ways, counted on the node's network interfaces. */
  readonly packets?: number;
  readonly bytes?: number;
}

/** A pod of this node with addresses of its own, as `pod.list` returns it. */
export interface PodEntry {
  readonly namespace: string;
  readonly name: string;
  readonly addresses: readonly string[];
}

/** The answer to load balancers at a service's healthCheckNodePort. */
export interface HealthCheckEntry {
  /** Host order. */
  readonly port: number;
  /** Ready endpoints on this node; without any, load balancers avoid the node. */
  readonly localEndpoints: number;
  readonly listening: boolean;
  /** The reason why the agent does not listen there. */
  readonly problem?: string;
}

/** A row with its backends, as `service.get` returns it. */
export interface ServiceDetail extends ServiceEntry {
  readonly endpoints: readonly BackendEntry[];
  /** Connections and packets that were refused since the row is programmed, by reason, most first. */
  readonly refusals: readonly ReasonCount[];
  /** The health check of the whole service, at the first of its rows. */
  readonly healthCheck?: HealthCheckEntry;
}
