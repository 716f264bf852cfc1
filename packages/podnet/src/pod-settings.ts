/**
 * The default gateway of every pod, in both families. The addresses are link-local, so they are the
 * same on all nodes and need no address of the node's.
 */
export const gateway = { v4: '169.254.1.1', v6: 'fe80::1' } as const;

/** The link-layer address of the node's end of every pod's pair. */
export const gatewayMac = '02:68:65:64:64:01';

/** A pair of links that connects a pod to its node. */
export interface PodInterface {
  /** Default: veth. The ends of netkit have no link-layer addresses, and pass no packet without a program. */
  readonly kind?: 'veth' | 'netkit';
  /** Name of the node's end, the pod interface. */
  readonly name: string;
  /** Name of the pod's end, e.g. `eth0`. */
  readonly podName: string;
  /** Link-layer address of the node's end, to which the pod sends everything. Default: `gatewayMac`. */
  readonly mac?: string;
  /** Link-layer address of the pod's end. */
  readonly podMac: string;
  /** Alias of the node's end, at most 255 bytes. */
  readonly alias?: string;
  /** Bytes, of both ends. */
  readonly mtu: number;
  /** The pod's addresses, at most one of each family. */
  readonly addresses: readonly PodAddress[];
  /** Largest packet that the node sends to the pod, bytes. Default: `mtu`. */
  readonly routeMtu?: number;
  /** Largest packet before segmentation, of both ends (see `bigTcpSize`). Default: the kernel's. */
  readonly segmentSize?: number;
  /** The node forwards packets of the pod. Default: true. */
  readonly forwarding?: boolean;
  /** Directory through which network settings can be written (see `Sysctls`). Default: /proc/sys/net. */
  readonly sysctls?: string | undefined;
}

/** One address of a pod. */
export interface PodAddress {
  /** IPv4 or IPv6 address, without a prefix length. */
  readonly address: string;
  /** The node's source address for its own packets to the pod. Default: the kernel chooses one. */
  readonly source?: string;
}
