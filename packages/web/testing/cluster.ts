import type { Party, PolicyRef, WorkloadKind } from '@heddle/web/contract';

/** A workload of an invented cluster. */
export interface InventedWorkload {
  /** Empty outside of namespaces. */
  readonly namespace: string;
  readonly name: string;
  readonly kind: WorkloadKind;
  readonly pods: readonly InventedPod[];
  readonly addresses: readonly string[];
  readonly labels: readonly string[];
}

export interface InventedPod {
  readonly name: string;
  readonly address: string;
  readonly node: string;
}

/** A link with its mean rates per second. */
export interface InventedLink {
  readonly from: InventedWorkload;
  readonly to: InventedWorkload;
  readonly protocol: number;
  readonly port: number;
  readonly forwarded: number;
  readonly dropped: number;
  readonly refused: number;
  /** Bytes of one connection from the client and to it. */
  readonly bytesOut: number;
  readonly bytesIn: number;
  /** The policy whose first rule lets the connections in. */
  readonly allowedBy?: PolicyRef;
  /** Minutes before now at which the link was first and last seen. */
  readonly first: number;
  readonly last: number;
}

/** An invented cluster; everything in it follows from its name. */
export interface InventedCluster {
  readonly name: string;
  readonly nodes: readonly string[];
  readonly workloads: readonly InventedWorkload[];
  readonly links: readonly InventedLink[];
}

/** Returns a workload as an end of a link. */
export function partyOf({ namespace, name, kind, labels }: InventedWorkload): Party {
  return { namespace, name, kind, labels };
}

/** Returns NAMESPACE/NAME, or the name alone outside of namespaces. */
export function nameOf({ namespace, name }: InventedWorkload): string {
  return namespace === '' ? name : `${namespace}/${name}`;
}
