import { ownText } from './memory.ts';

// What Heddle keeps of a Kubernetes object. Whole objects are never kept: these records are what
// bounds the agent's memory, so a field is here only if a row depends on it. All addresses are in
// canonical text (dotted IPv4, RFC 5952), all records are plain data with the same fields always.

export type Protocol = 'TCP' | 'UDP' | 'SCTP';

export type Family = 'IPv4' | 'IPv6';

/** How a new connection's backend is chosen. `weighted` is random by weight. */
export type Algorithm = 'random' | 'round-robin' | 'weighted' | 'least-connections' | 'maglev';

/**
 * How packets from outside get to a backend on another node. `snat`: from an address of this node, so
 * that the replies come back here. `dsr`: unchanged in a tunnel to the backend's node, which answers
 * the client itself. `hybrid`: dsr for TCP, snat for the rest.
 */
export type Forwarding = 'snat' | 'dsr' | 'hybrid';

export type ObjectKind = 'service' | 'slice' | 'node' | 'pod';

/** Names an object; `namespace` is empty for a Node. */
export interface ObjectRef {
  readonly kind: ObjectKind;
  readonly namespace: string;
  readonly name: string;
}

export interface ServicePort {
  /** Empty for the only port of a service that doesn't name it. */
  readonly name: string;
  readonly protocol: Protocol;
  /** Host order. */
  readonly port: number;
  /** Host order; 0: none. */
  readonly nodePort: number;
}

export interface ServiceRecord extends ObjectRef {
  readonly kind: 'service';
  /** Milliseconds since 1970; Infinity when the object doesn't say (a manifest that nobody applied). */
  readonly createdMs: number;
  readonly type: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName';
  /** At most one of each family; empty for headless and ExternalName services. */
  readonly clusterIPs: readonly string[];
  /** Value of the label service.kubernetes.io/service-proxy-name: another proxy serves it. */
  readonly proxyName: string | undefined;
  readonly ports: readonly ServicePort[];
  readonly externalIPs: readonly string[];
  /** Ingress addresses of the load balancer that the node shall serve itself (ipMode VIP). */
  readonly loadBalancerIPs: readonly string[];
  /** loadBalancerSourceRanges, as canonical text; empty: everybody may come in. */
  readonly sourceRanges: readonly string[];
  /** 0: no affinity. */
  readonly affinitySeconds: number;
  /** internalTrafficPolicy is Local. */
  readonly internalLocal: boolean;
  /** externalTrafficPolicy is Local. */
  readonly externalLocal: boolean;
  /** Where load balancers ask whether this node has endpoints (host order); 0: nowhere. */
  readonly healthCheckPort: number;
  readonly publishNotReady: boolean;
  readonly algorithm: Algorithm;
  /** By address or pod name, from the annotation heddle.io/weights. */
  readonly weights: ReadonlyMap<string, number> | undefined;
  /** From the annotation heddle.io/forwarding; undefined: as the configuration says. */
  readonly forwarding: Forwarding | undefined;
  /** Annotations that were not understood, in sentences. */
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
  /** Empty when the slice doesn't say. */
  readonly nodeName: string;
  /** Name of the object behind the endpoint (a pod, as a rule); empty when the slice doesn't say. */
  readonly target: string;
  readonly zoneHints: readonly string[];
  readonly nodeHints: readonly string[];
}

export interface SliceRecord extends ObjectRef {
  readonly kind: 'slice';
  /** Name of the service, in the same namespace. */
  readonly service: string;
  readonly family: Family;
  readonly ports: readonly SlicePort[];
  readonly endpoints: readonly EndpointRecord[];
}

export interface NodeRecord extends ObjectRef {
  readonly kind: 'node';
  /** Label topology.kubernetes.io/zone; empty when absent. */
  readonly zone: string;
  /** IP addresses of all types. */
  readonly addresses: readonly string[];
  /** Those of the types InternalIP and ExternalIP. */
  readonly nodeIPs: readonly string[];
  /** It is being deleted, or the cluster's autoscaler has marked it for that (KEP-3836). */
  readonly leaving: boolean;
}

export interface HostPort {
  readonly protocol: Protocol;
  /** Where the pod listens; host order. */
  readonly containerPort: number;
  /** Host order. */
  readonly hostPort: number;
  /** The only address where it is served; empty: all that take NodePorts, of both families. */
  readonly hostIP: string;
}

/** A pod that runs on a node with an address of its own. */
export interface PodRecord extends ObjectRef {
  readonly kind: 'pod';
  /** Milliseconds since 1970; Infinity when the object doesn't say. */
  readonly createdMs: number;
  readonly nodeName: string;
  /** At most one of each family. */
  readonly addresses: readonly string[];
  /** Empty: the pod is kept for its name and addresses, which traces and dumps show. */
  readonly hostPorts: readonly HostPort[];
  /** It is being deleted. */
  readonly terminating: boolean;
}

export type ObjectRecord = ServiceRecord | SliceRecord | NodeRecord | PodRecord;

/** Names an object whose newest version can't be used. */
export interface InvalidRef extends ObjectRef {
  /** Of a slice: name of the service, in the same namespace, as far as the object says. */
  readonly service?: string;
}

/** What happened to one object. */
export type ObjectChange =
  | {
      readonly op: 'set';
      readonly object: ObjectRecord;
      /**
       * When the change of a pod or service that led to this version of a slice happened, as its
       * author says (milliseconds since 1970). It says nothing about the object.
       */
      readonly triggeredMs?: number;
    }
  | ({ readonly op: 'delete' } & ObjectRef)
  /** The object's newest version can't be used: its last good one stays in force. */
  | ({ readonly op: 'invalid'; readonly reason: string } & InvalidRef);

const kindNames: Readonly<Record<ObjectKind, string>> = {
  service: 'Service',
  slice: 'EndpointSlice',
  node: 'Node',
  pod: 'Pod',
};

/** `Service default/web`, `Node worker-1`: how messages name an object. */
export function objectLabel(ref: ObjectRef): string {
  const kind = kindNames[ref.kind];
  return ownText(
    ref.kind === 'node' ? `${kind} ${ref.name}` : `${kind} ${ref.namespace}/${ref.name}`,
  );
}

/** What an API object was read as. */
export type ReadObject =
  | { readonly kind: 'service'; readonly record: ServiceRecord }
  | {
      readonly kind: 'slice';
      readonly record: SliceRecord;
      /** The time of the change that led to this version, in milliseconds since 1970; see ObjectChange. */
      readonly triggeredMs?: number;
    }
  | { readonly kind: 'node'; readonly record: NodeRecord }
  | { readonly kind: 'pod'; readonly record: PodRecord }
  /** Valid, but nothing that Heddle serves. */
  | { readonly kind: 'ignored'; readonly note: string }
  | {
      readonly kind: 'invalid';
      /** `Service default/web`, as far as the object says. */
      readonly object: string;
      /** A sentence with the object, the field and the value. */
      readonly reason: string;
      /** Absent when the object doesn't name itself. */
      readonly ref: InvalidRef | undefined;
    };
