import { type Bpf, type Feature, featureSince, features } from '@heddle/ebpf';
import type { XdpState } from './devices/xdp-devices.ts';
import type { NatStatus } from './nat/flow-table.ts';
import type { TrafficTotals } from './services/backend-table.ts';
import { readsKernel } from './sockets/kernel-fields.ts';

export interface DatapathStatus {
  /** Version of the maps' layout. */
  readonly abi: number;
  readonly maps: readonly { name: string; entries: number; maxEntries: number }[];
  readonly links: readonly { hook: string; attached: boolean }[];
  /** Features that the kernel lacks, the version that has them, and what is done instead. */
  readonly missing: readonly MissingFeature[];
  /** True if services that an earlier agent programmed were found at the start. */
  readonly adopted: boolean;
  /** The number of rows that were found programmed at the start, but not as they should be. */
  readonly repaired: number;
  /** The reasons why maps of an earlier agent were replaced, in words. */
  readonly migrated: readonly string[];
  readonly socketsDestroyed: number;
  readonly nat: NatStatus;
  /** The network interfaces that XDP is wanted at. */
  readonly xdp: readonly XdpState[];
  readonly traffic: TrafficTotals;
  /** True if packets to backends on this node pass netfilter, which tracks connections there. */
  readonly tracked: boolean;
}

export interface MissingFeature {
  readonly feature: string;
  readonly since: string;
  readonly instead: string;
}

/** Features that the oldest supported kernel lacks, and what the datapath does without them. */
const optionalFeatures: readonly { feature: Feature; instead: string }[] = [
  {
    feature: 'kfunc/bpf_sock_destroy',
    instead: 'sockets of removed backends are closed through sock_diag',
  },
  {
    feature: 'iter/bpf_sk_storage_map',
    instead: 'sockets of removed backends are looked for in one network namespace after the other',
  },
  {
    feature: readsKernel,
    instead:
      'pods count as clients without an address, which frontends with loadBalancerSourceRanges refuse',
  },
  {
    feature: 'link/tcx',
    instead: 'programs at network interfaces are filters of a clsact qdisc',
  },
];

/** Returns the optional features that the running kernel lacks. */
export function missingFeatures(bpf: Bpf): MissingFeature[] {
  return optionalFeatures
    .filter(({ feature }) => !features(bpf).has(feature))
    .map(({ feature, instead }) => ({ feature, since: featureSince(feature), instead }));
}
