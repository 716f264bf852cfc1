import type { FamilyUsage } from '@heddle/ipam';

// The answers about pods. The shapes are stable: fields are added, not changed.

/** The fields of AgentStatus that pods add. */
export interface PodsStatus {
  /** The pod network; absent if Heddle is not the network of the cluster. */
  readonly pods?: {
    /** The number of pod interfaces. */
    readonly count: number;
    /** The MTU of new pod interfaces, in bytes. */
    readonly mtu: number;
    /** The use of the addresses for pods, of each family. */
    readonly addresses: readonly FamilyUsage[];
    /** The reason why no pod can be connected now. */
    readonly notReady?: string;
  };
}

/** An answer of `attachment.check`. */
export interface CheckedAttachment extends AttachmentEntry {
  /** Sentences about what differs from what ADD has made. */
  readonly problems: readonly string[];
}

/** An answer of `attachment.gc`. */
export interface RemovedAttachment extends AttachmentEntry {
  readonly reason: string;
}

/** A pod interface of this node, as `attachment.list` returns it. */
export interface AttachmentEntry {
  /** Namespace and name of the Pod object; empty if they are unknown. */
  readonly namespace: string;
  readonly name: string;
  /** The UID of the Pod object; absent if the runtime did not give it. */
  readonly podUid?: string;
  readonly addresses: readonly string[];
  /** The names of the node's end and of the pod's end. */
  readonly interface: string;
  readonly podInterface: string;
  readonly ifindex: number;
  readonly kind: 'veth' | 'netkit';
  /** The link-layer address of the pod's end. */
  readonly mac: string;
  readonly mtu: number;
  readonly containerId: string;
  /** ISO 8601 text in UTC; absent for a pod that an earlier agent has connected. */
  readonly since?: string;
}
