import type { ServicePort, Workload } from '@heddle/objects';

// The answers about names. The shapes are stable: fields are added, not changed.

/** A pod with addresses of its own. */
export interface PodName {
  readonly kind: 'pod';
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly addresses: readonly string[];
  /** Keys and values in turn, sorted by key. */
  readonly labels: readonly string[];
  readonly workload?: Workload;
}

/** A node, this one included. */
export interface NodeName {
  readonly kind: 'node';
  readonly namespace: '';
  readonly name: string;
  readonly addresses: readonly string[];
  /** The ranges of its pods' addresses. */
  readonly ranges: readonly string[];
  /** Keys and values in turn, sorted by key. */
  readonly labels: readonly string[];
}

/** A service with the addresses that clients use. */
export interface ServiceName {
  readonly kind: 'service';
  readonly namespace: string;
  readonly name: string;
  /** ClusterIPs, external IPs and those of its load balancer. */
  readonly addresses: readonly string[];
  /** `nodePort` is 0 without one. */
  readonly ports: readonly Pick<ServicePort, 'protocol' | 'port' | 'nodePort'>[];
}

/** The addresses of the API servers; there is one such entry. */
export interface ApiServerName {
  readonly kind: 'apiServer';
  readonly namespace: '';
  readonly name: '';
  readonly addresses: readonly string[];
}

export type NameEntry = PodName | NodeName | ServiceName | ApiServerName;

/** An entry that is gone. */
export interface RemovedName extends Pick<NameEntry, 'kind' | 'namespace' | 'name'> {
  readonly isRemoved: true;
}

/** The answer to `name.list`: names that have changed since a revision. */
export interface NameChanges {
  /** The oldest change first; a later one replaces an earlier one of the same entry. */
  readonly items: readonly (NameEntry | RemovedName)[];
  /** `since` of the next request. */
  readonly revision: string;
  /** True if more changes have been made than this answer has. */
  readonly hasMore: boolean;
  /** True if the list begins here: the agent does not know what has changed since the revision that was asked for. */
  readonly isFull: boolean;
  /** False while the agent has not read the objects yet. */
  readonly isComplete: boolean;
}
