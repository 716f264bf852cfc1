import type { Algorithm, Family, Forwarding, Protocol } from '@heddle/objects';

export type FrontendKind = 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalIP' | 'HostPort';

/** An address and port at which a service is reached. */
export interface Frontend {
  readonly kind: FrontendKind;
  /**
   * Canonical text. A NodePort has one frontend for each of the node's addresses that take
   * NodePorts and one for the unspecified address (`0.0.0.0` or `::`), which serves loopback and
   * guards `bind`. A HostPort has the same ones, unless its hostIP names the only address where it
   * is served.
   */
  readonly address: string;
  /** Host order. */
  readonly port: number;
  readonly protocol: Protocol;
}

/** An address and port that serves a frontend. */
export interface Backend {
  readonly address: string;
  /** Host order. */
  readonly port: number;
  /** `draining`: keeps existing connections, gets no new ones. */
  readonly state: 'active' | 'draining';
  /** Relative share of new connections, 1 to 65535; 1 by default. */
  readonly weight: number;
}

/**
 * The health check at a port of this node, by which load balancers find the nodes that have
 * endpoints.
 */
export interface HealthCheck {
  /** Host order. */
  readonly port: number;
  /** The number of ready endpoints on this node. */
  readonly localEndpoints: number;
}

/**
 * One port of a service in one address family, as it is to be programmed. A service whose
 * internalTrafficPolicy is Local has two rows for a port: its ClusterIP with this node's backends
 * and (key ending in `/external`) its other frontends with all backends. If externalTrafficPolicy
 * is Local, a further row (`/outside`) has these other frontends for external packets, with this
 * node's backends. Each hostPort of a pod is a row too, for each address family of the pod.
 */
export interface ServiceRow {
  /**
   * `namespace/name:port/protocol/family[/external|/outside]`; `port` is the port's name or its
   * number. For a pod `namespace/pod/name:port/protocol/family`; `port` is its hostPort, after its
   * hostIP if it has one.
   */
  readonly key: string;
  /**
   * The clients that it applies to. `outside`: external packets that enter the node; such a row has
   * precedence over one for `everybody`.
   */
  readonly scope: 'everybody' | 'outside';
  /**
   * True if packets are dropped instead of rejected without backends, because other nodes have
   * backends.
   */
  readonly silent: boolean;
  readonly namespace: string;
  /** The service's name, or `pod/name`, which no service can have. */
  readonly name: string;
  /** The port's name, or its number as text. */
  readonly portName: string;
  readonly protocol: Protocol;
  readonly family: Family;
  readonly frontends: readonly Frontend[];
  /** Sorted by address and port, without duplicates. */
  readonly backends: readonly Backend[];
  readonly algorithm: Algorithm;
  readonly forwarding: Exclude<Forwarding, 'hybrid'>;
  /**
   * The ranges of external clients that may use the LoadBalancer frontends, as canonical text;
   * if empty, all clients may.
   */
  readonly sourceRanges: readonly string[];
  /** Seconds of ClientIP affinity, 1 to 86,400; 0: none. */
  readonly affinitySeconds: number;
  /**
   * Sentences about parts of the service that are refused, e.g. an externalIP that is a node's
   * address.
   */
  readonly problems: readonly string[];
  /**
   * The reason why the row is not programmed, as a sentence. It then has neither frontends nor
   * backends.
   */
  readonly notAdmitted?: string;
  /** The health check of the whole service. Only the first of its rows has it. */
  readonly healthCheck?: HealthCheck;
}
