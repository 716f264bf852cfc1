import type { Bpf } from '@heddle/ebpf';
import type { Platform } from '@heddle/sys';
import type { XdpMode } from './devices/xdp-devices.ts';
import type { NatOptions } from './nat/flow-options.ts';

/** How many entries the maps have room for. Arrays take their memory at once, hashes as they fill. */
export interface DatapathSizes {
  /** Frontends; 20 + 24 bytes each, and the kernel's overhead of about 50. */
  readonly services: number;
  /** The number of frontends that `services` may grow for while it runs. Absent: it stays as it is. */
  readonly servicesMax?: number;
  /** 64 bytes each with their counters. */
  readonly backends: number;
  /** 8 bytes each; a service takes as many as it has backends (maglev: 100 times, weighted: up to 1,024). */
  readonly slots: number;
  /** Clients times services with session affinity; about 100 bytes each. */
  readonly affinity: number;
  /** Flows that are translated on the node's devices; 136 bytes each, taken at once. */
  readonly flows: number;
}

export interface DatapathOptions {
  readonly platform: Platform;
  readonly bpf: Bpf;
  /** Bytes of a compiled object by name: `socket`, `node`, `xdp`, `stale`. */
  readonly objects: (name: string) => Uint8Array;
  /** Directory for pins; a bpf file system is mounted on it unless it lies on one. */
  readonly bpffs: string;
  /** Path of the cgroup v2 whose processes' sockets are served. */
  readonly cgroup: string;
  readonly sizes: DatapathSizes;
  /** Cookie of the node's network namespace: where NodePorts are served on loopback and guarded. */
  readonly netnsCookie: bigint;
  readonly nat: NatOptions;
  /** The clients that loadBalancerSourceRanges restrict; absent: everywhere. */
  readonly sourceRanges?: SourceRangesHold;
  /** Where packets that only turn round on this node are translated early; absent: off. */
  readonly xdp?: XdpMode;
  readonly options: {
    /** Also destroy TCP sockets whose backend is gone. */
    readonly terminateTcp: boolean;
  };
}

/**
 * The clients that loadBalancerSourceRanges restrict: all of them, also pods and processes of the node, or only
 * those that enter the node from outside the cluster.
 */
export type SourceRangesHold = 'everywhere' | 'external';
