// The parts of Kubernetes objects that Heddle keeps. Whole objects are never kept: the records
// determine the agent's memory, so a field is here only if a row depends on it. All addresses are
// canonical text (dotted IPv4, RFC 5952). All records of a kind have the same fields.

import type { Labels } from './labels.ts';

export type Protocol = 'TCP' | 'UDP' | 'SCTP';

export type Family = 'IPv4' | 'IPv6';

/**
 * The algorithm that chooses the backend of a new connection. `weighted` chooses at random by
 * weight.
 */
export type Algorithm = 'random' | 'round-robin' | 'weighted' | 'least-connections' | 'maglev';

/**
 * The way in which external packets are forwarded to a backend on another node. `snat`: with an address of this node as
 * source, so that replies return through this node. `dsr`: unchanged in a tunnel to the backend's
 * node, which replies to the client directly. `hybrid`: dsr for TCP, snat for other protocols.
 */
export type Forwarding = 'snat' | 'dsr' | 'hybrid';

/** Names an object. */
export interface ObjectRef {
  /** The name of its Kind, e.g. `slice`. */
  readonly kind: string;
  /** Empty for an object of the cluster, e.g. a Node. */
  readonly namespace: string;
  readonly name: string;
}

export interface ServicePort {
  /** Empty for an unnamed port, which is the service's only one. */
  readonly name: string;
  readonly protocol: Protocol;
  /** Host order. */
  readonly port: number;
  /** Host order; 0: no NodePort. */
  readonly nodePort: number;
}

export interface ServiceRecord extends ObjectRef {
  readonly kind: 'service';
  /**
   * Milliseconds since 1970; Infinity without a creationTimestamp (a manifest that was never
   * applied).
   */
  readonly createdMs: number;
  readonly type: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName';
  /** At most one of each family; empty for headless and ExternalName services. */
  readonly clusterIPs: readonly string[];
  /**
   * The value of the label service.kubernetes.io/service-proxy-name. If it is present, another
   * proxy serves the service.
   */
  readonly proxyName: string | undefined;
  readonly ports: readonly ServicePort[];
  readonly externalIPs: readonly string[];
  /** Ingress addresses of the load balancer that the node serves itself (ipMode VIP). */
  readonly loadBalancerIPs: readonly string[];
  /** loadBalancerSourceRanges as canonical text. If empty, all clients are allowed. */
  readonly sourceRanges: readonly string[];
  /** 0: no affinity. */
  readonly affinitySeconds: number;
  /** internalTrafficPolicy is Local. */
  readonly internalLocal: boolean;
  /** externalTrafficPolicy is Local. */
  readonly externalLocal: boolean;
  /** The port where load balancers check whether this node has endpoints (host order); 0: none. */
  readonly healthCheckPort: number;
  readonly publishNotReady: boolean;
  readonly algorithm: Algorithm;
  /** Weights by address or pod name, from the annotation heddle.io/weights. */
  readonly weights: ReadonlyMap<string, number> | undefined;
  /** The value of the annotation heddle.io/forwarding. If undefined, the configuration applies. */
  readonly forwarding: Forwarding | undefined;
  /** Sentences about annotations that can't be used. */
  readonly problems: readonly string[];
}

export interface SlicePort {
  readonly name: string;
  readonly protocol: Protocol;
  /** Host order. */
  readonly port: number;
}

export interface EndpointRecord {
  readonly address: string;
  /** Conditions with the defaults that kube-proxy gives to absent ones. */
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  /** Empty if the slice has no nodeName. */
  readonly nodeName: string;
  /**
   * The name of the object that the endpoint refers to (usually a pod); empty without a targetRef.
   */
  readonly target: string;
  readonly zoneHints: readonly string[];
  readonly nodeHints: readonly string[];
}

export interface SliceRecord extends ObjectRef {
  readonly kind: 'slice';
  /** The name of the service, in the same namespace. */
  readonly service: string;
  readonly family: Family;
  readonly ports: readonly SlicePort[];
  readonly endpoints: readonly EndpointRecord[];
}

export interface NodeRecord extends ObjectRef {
  readonly kind: 'node';
  /** The label topology.kubernetes.io/zone; empty when absent. */
  readonly zone: string;
  readonly labels: Labels;
  /** IP addresses of all types. */
  readonly addresses: readonly string[];
  /** The addresses of the types InternalIP and ExternalIP. */
  readonly nodeIPs: readonly string[];
  /**
   * The ranges of the addresses of the node's pods, as canonical text: those of spec.podCIDRs, then
   * those of the annotation heddle.io/pod-cidrs.
   */
  readonly podCIDRs: readonly string[];
  /** Sentences about annotations that can't be used. */
  readonly problems: readonly string[];
  /**
   * True if the node is being deleted, or the cluster autoscaler has tainted it for deletion
   * (KEP-3836).
   */
  readonly leaving: boolean;
}

export interface HostPort {
  readonly protocol: Protocol;
  /** The port where the pod listens; host order. */
  readonly containerPort: number;
  /** Host order. */
  readonly hostPort: number;
  /**
   * The only address that serves it. If empty, these are all addresses that take NodePorts, of both
   * families.
   */
  readonly hostIP: string;
}

/** A port of a pod's container that has a name. */
export interface NamedPort {
  readonly name: string;
  readonly protocol: Protocol;
  /** Host order. */
  readonly port: number;
}

/** Limits of a pod in bits per second; undefined without a limit. */
export interface Bandwidth {
  /** The limit of sent packets. */
  readonly egress: number | undefined;
  /** The limit of received packets. */
  readonly ingress: number | undefined;
}

/** The object that people know pods by, e.g. their Deployment. */
export interface Workload {
  /** `Deployment`, `StatefulSet`, `DaemonSet`, `CronJob`, `Job`, or the kind of another controller. */
  readonly kind: string;
  readonly name: string;
}

/** A pod of a node with a network of its own. */
export interface PodRecord extends ObjectRef {
  readonly kind: 'pod';
  /** The uid by which the kubelet calls the pod; empty if the object has none. */
  readonly uid: string;
  /** Milliseconds since 1970; Infinity without a creationTimestamp. */
  readonly createdMs: number;
  readonly nodeName: string;
  /** At most one of each family; none while the node connects the pod. */
  readonly addresses: readonly string[];
  /** May be empty: traces and dumps show the names and addresses of pods without hostPorts too. */
  readonly hostPorts: readonly HostPort[];
  readonly labels: Labels;
  /** Undefined for a pod without a controller. Pods of one workload mostly share the object. */
  readonly workload: Workload | undefined;
  /** Mostly one list for all pods with the same named ports. */
  readonly namedPorts: readonly NamedPort[];
  /** Undefined without limits. */
  readonly bandwidth: Bandwidth | undefined;
  /** True if the pod is being deleted. */
  readonly terminating: boolean;
  /** Sentences about annotations that can't be used. */
  readonly problems: readonly string[];
}

/** The records that services are made of. */
export type ServiceInput = ServiceRecord | SliceRecord | NodeRecord | PodRecord;

/** Names an object whose newest version cannot be used. */
export interface InvalidRef extends ObjectRef {
  /** For a slice: the name of its service, if the object has the label. */
  readonly service?: string;
}

/** A change of one object. */
export type ObjectChange<Record extends ObjectRef = ObjectRef> =
  | {
      readonly op: 'set';
      readonly object: Record;
      /**
       * The time of the pod's or service's change that led to this version of a slice, from its
       * annotation (milliseconds since 1970). Not a property of the object.
       */
      readonly triggeredMs?: number;
    }
  | ({ readonly op: 'delete' } & ObjectRef)
  /** The object's newest version can't be used: its last good version stays programmed. */
  | ({ readonly op: 'invalid'; readonly reason: string } & InvalidRef);
