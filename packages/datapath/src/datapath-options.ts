import type { Bpf } from '@heddle/ebpf';
import type { Platform } from '@heddle/sys';
import type { XdpMode } from './devices/xdp-devices.ts';
import type { NatOptions } from './nat/flow-options.ts';

/** The capacities of the maps, in entries. Arrays take their memory at once, hashes as they fill. */
export interface DatapathSizes {
  /** Frontends; 20 + 24 bytes each, and the kernel's overhead of about 50. */
  readonly services: number;
  /** The number of frontends that `services` may grow to at runtime. If absent, it does not grow. */
  readonly servicesMax?: number;
  /** 64 bytes each with their counters. */
  readonly backends: number;
  /** 8 bytes each; a service takes as many as it has backends (maglev: 100 times, weighted: up to 1,024). */
  readonly slots: number;
  /** Clients times services with session affinity; about 100 bytes each. */
  readonly affinity: number;
  /** Flows that are translated at the node's network interfaces; 136 bytes each, with `visibility` 200, taken at once. */
  readonly flows: number;
  /** Different sets of policies that select pods, in one direction; 544 bytes each. The default is 1024. */
  readonly policySubjects?: number;
  /** Addresses of peers of policies; about 90 bytes each. The default is 131072. */
  readonly policyPeers?: number;
  /** Ranges of addresses of peers; about 120 bytes each. The default is 65536. */
  readonly policyRanges?: number;
  /** Classes of peers: addresses that are peers of the same rules; 520 bytes each. The default is 4096. */
  readonly policyPeerClasses?: number;
  /** Names of hosts that rules have; about 330 bytes each. The default is 1024. */
  readonly policyNames?: number;
  /** Addresses of these names; about 120 bytes each. The default is 65536. */
  readonly policyGrants?: number;
  /** Classes of ports: ports that the same rules name; 520 bytes each. The default is 2048. */
  readonly policyPortClasses?: number;
}

export interface DatapathOptions {
  readonly platform: Platform;
  readonly bpf: Bpf;
  /** Returns the bytes of a compiled object by its name: `socket`, `node`, `xdp`, `pod`, `stale`. */
  readonly objects: (name: string) => Uint8Array;
  /** Directory for pins; a bpf file system is mounted on it unless it lies on one. */
  readonly bpffs: string;
  /** Path of the cgroup v2 whose processes' sockets are load balanced. */
  readonly cgroup: string;
  readonly sizes: DatapathSizes;
  /** Cookie of the node's network namespace, in which NodePorts on loopback addresses are load balanced. */
  readonly netnsCookie: bigint;
  readonly nat: NatOptions;
  /** The clients that loadBalancerSourceRanges restrict. The default is `everywhere`. */
  readonly sourceRanges?: SourceRangesScope;
  /**
   * The sockets whose addresses are translated. With `hostNamespaceOnly` those of pods are left alone, and their packets
   * are translated at the pod interfaces. The default is `all`.
   */
  readonly socketLB?: 'all' | 'hostNamespaceOnly';
  /** The mode in which XDP translates packets that leave the node again at once. The default is `off`. */
  readonly xdp?: XdpMode;
  /** The options of the pod network. If absent, another CNI plug-in provides it. */
  readonly network?: PodNetworkOptions;
  readonly options: {
    /** True if TCP sockets whose backend is removed are destroyed too. */
    readonly terminateTcp: boolean;
  };
}

/** The options of the pod network. */
export interface PodNetworkOptions {
  /** UDP port of the tunnels between nodes. */
  readonly tunnelPort: number;
  /** The congestion control of connections to pods of this node that would use BBR. The default is `off`. */
  readonly localCongestionControl?: 'cubic' | 'off';
  /** True if network policies can be programmed; the default. Otherwise pods have none. */
  readonly policy?: boolean;
  /** True if connections of pods that no policy selects have entries of the flow table, too. The default is false. */
  readonly visibility?: boolean;
}

/** Returns true if the datapath has maps for network policies. */
export function hasPolicy(network: PodNetworkOptions | undefined): boolean {
  return network !== undefined && network.policy !== false;
}

/**
 * The clients that loadBalancerSourceRanges restrict: `everywhere`, all of them, also pods and processes of the
 * node; `external`, only those whose packets enter the node from outside the cluster.
 */
export type SourceRangesScope = 'everywhere' | 'external';
