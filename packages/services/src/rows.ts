import type { Algorithm, Family, Forwarding, Protocol } from '@heddle/objects';

export type FrontendKind = 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalIP' | 'HostPort';

/** An address and port at which a service is reached. */
export interface Frontend {
  readonly kind: FrontendKind;
  /**
   * Text form. A NodePort has one frontend for each of the node's addresses that take NodePorts and
   * one for the unspecified address (`0.0.0.0` or `::`), which stands for loopback and guards
   * `bind`; so has a HostPort, unless its hostIP names the one address where it is served.
   */
  readonly address: string;
  /** Host order. */
  readonly port: number;
  readonly protocol: Protocol;
}

/** An address and port that serves. */
export interface Backend {
  readonly address: string;
  /** Host order. */
  readonly port: number;
  /** `draining`: keeps what it has, gets nothing new. */
  readonly state: 'active' | 'draining';
  /** Relative share of new connections, 1 to 65535; 1 unless the annotation says otherwise. */
  readonly weight: number;
}

/** What load balancers are told at a port of this node, to find the nodes that have endpoints. */
export interface HealthCheck {
  /** Host order. */
  readonly port: number;
  /** Ready endpoints on this node. */
  readonly localEndpoints: number;
}

/**
 * One port of a service in one address family, as the kernel shall have it. A service whose
 * internalTrafficPolicy is Local has two rows for a port: its ClusterIP, with this node's backends,
 * and (key ending in `/external`) its other frontends, with all of them. One whose
 * externalTrafficPolicy is Local has a row more (`/outside`): what packets from outside find at
 * those other frontends, with this node's backends. Each hostPort of a pod is a row too, for each
 * family that the pod has an address of.
 */
export interface ServiceRow {
  /**
   * `namespace/name:port/protocol/family[/external|/outside]`; `port` is the port's name or its
   * number. Of a pod `namespace/pod/name:port/protocol/family`; `port` is its hostPort, after its
   * hostIP if it has one.
   */
  readonly key: string;
  /** Who it is for: `outside`, packets that enter the node, before what is for `everybody`. */
  readonly scope: 'everybody' | 'outside';
  /** Without backends packets are dropped, not refused: other nodes have backends. */
  readonly silent: boolean;
  readonly namespace: string;
  /** Of a pod `pod/name`: no service is called so. */
  readonly name: string;
  /** Name of the port, or its number as text. */
  readonly portName: string;
  readonly protocol: Protocol;
  readonly family: Family;
  readonly frontends: readonly Frontend[];
  /** Sorted by address and port, without duplicates. */
  readonly backends: readonly Backend[];
  readonly algorithm: Algorithm;
  readonly forwarding: Exclude<Forwarding, 'hybrid'>;
  /**
   * Ranges of addresses that may come in from outside at the LoadBalancer frontends, as canonical
   * text; empty: everybody may.
   */
  readonly sourceRanges: readonly string[];
  /** Seconds of ClientIP affinity, 1 to 86,400; 0: none. */
  readonly affinitySeconds: number;
  /** What of this service was refused, in sentences, e.g. an externalIP that is a node's address. */
  readonly problems: readonly string[];
  /** A sentence that tells why the row is not programmed: then it has neither frontends nor backends. */
  readonly notAdmitted?: string;
  /** That of the whole service, at the first of its rows; absent at the others. */
  readonly healthCheck?: HealthCheck;
}
