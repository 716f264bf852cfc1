import type {
  AgentEvent,
  AgentStatus,
  AttachmentEntry,
  BackendEntry,
  EffectiveConfig,
  FlowItem,
  NatDestination,
  NodeEntry,
  PodEntry,
  PolicyRuleEntry,
  ServiceDetail,
  ServiceEntry,
} from '@heddle/agent';
import type { MapName } from '@heddle/datapath';
import type { LinkInfo, MapInfo, ProgramInfo } from '@heddle/ebpf';
import type { LinkAddress, Neighbour, NetworkLink, Route } from '@heddle/netlink';
import type { ProgramTags } from './tags.ts';

// The content of a dump. In a file it is a sequence of records (file.ts).

/** The time, node and version of a dump. */
export interface DumpHead {
  /** ISO 8601 in UTC. */
  readonly created: string;
  /** Nanoseconds of CLOCK_MONOTONIC at that time. */
  readonly monotonicNs: bigint;
  /** The version of the command that made it. */
  readonly heddle: string;
  /** The kernel's release. */
  readonly kernel: string;
  readonly arch: string;
  /** CPUs that per-CPU maps have a value for. */
  readonly cpus: number;
  readonly bpffs: string;
}

/** The items of the lists that this version knows, by control method. */
interface KnownLists {
  readonly 'service.list': ServiceEntry;
  readonly 'backend.list': BackendEntry;
  /** Pods of the node with addresses of their own; absent in dumps of versions before 0.2. */
  readonly 'pod.list': PodEntry;
  /** Pod interfaces of the node; absent in dumps of versions before 0.2. */
  readonly 'attachment.list': AttachmentEntry;
  /** Rules of network policies by number; absent in dumps of versions before 0.2. */
  readonly 'policy.rules': PolicyRuleEntry;
  readonly 'events.list': AgentEvent;
  readonly 'flow.list': FlowItem;
  readonly 'nat.list': NatDestination;
  /** Other nodes; absent in dumps of versions before 0.2. */
  readonly 'node.list': NodeEntry;
}

/** The agent's answers to the read commands. */
export interface Answers {
  readonly status: AgentStatus;
  readonly config: EffectiveConfig;
  /** The details of each service; empty if they were not collected. */
  readonly details: readonly ServiceDetail[];
  /** The items of each list that a feature declares (`dump` of FeatureDefinition), by control method. */
  readonly lists: ReadonlyMap<string, readonly unknown[]>;
}

/** Returns the items of a list, or nothing if the dump does not have it. */
export function listOf<Method extends keyof KnownLists>(
  { lists }: Pick<Answers, 'lists'>,
  method: Method,
): readonly KnownLists[Method][] {
  return (lists.get(method) ?? []) as readonly KnownLists[Method][];
}

/** A map with its entries. */
export interface DumpedMap {
  readonly info: MapInfo;
  /** The file name of its pin; absent for the constants of a program. */
  readonly pin?: string;
  /** The size of a value in bytes; for a per-CPU map the size for all CPUs. */
  readonly valueBytes: number;
  /** Alternating keys and values. Elements of arrays that are zero are left out. */
  readonly entries: readonly Uint8Array[];
  /** True when there were more entries than a dump takes. */
  readonly cut: boolean;
}

/** A pinned link. */
export interface DumpedLink {
  /** The file name of its pin, e.g. `connect4` or `node_ingress@eth0`. */
  readonly pin: string;
  readonly info: LinkInfo;
}

export interface DumpedNamespace {
  readonly inode: number;
  readonly cookie: bigint;
  /** True for the node's own namespace. */
  readonly isNode: boolean;
  /** True when its processes are in the cgroup that Heddle serves; undefined when none was seen. */
  readonly isServed?: boolean;
  /** True when one of its interfaces is paired with an interface of the node that is not external, as a pod's is. */
  readonly isAttached?: boolean;
  /** Its names: the pod or the Node, the name of its mount, host names of its processes. */
  readonly names: readonly string[];
  readonly addresses: readonly string[];
}

/** A program that runs as a filter of traffic control. */
export interface DumpedFilter {
  /** E.g. `from_tunnel@heddle0`; `from_pod` and `to_pod` for all pod interfaces. */
  readonly hook: string;
  readonly programId: number;
}

/** The node's own network namespace, as far as the path of a packet depends on it. */
export interface DumpedNetwork {
  readonly links: readonly NetworkLink[];
  readonly addresses: readonly LinkAddress[];
  readonly routes: readonly Route[];
  readonly neighbours: readonly Neighbour[];
  /** net.ipv4.ip_forward and net.ipv6.conf.all.forwarding. */
  readonly forwards: { readonly ipv4: boolean; readonly ipv6: boolean };
  /** Absent in dumps of versions before 0.2. */
  readonly filters?: readonly DumpedFilter[];
}

export interface Dump {
  readonly head: DumpHead;
  /** The agent's answers, or why no agent answered. */
  readonly answers: Answers | { readonly missing: string };
  /** The compiled objects of the version that made the dump, by name: `socket`, `node`, `xdp`, `pod`. */
  readonly objects: ReadonlyMap<string, Uint8Array>;
  /** Tags that the node's kernel gives the programs of the objects, by the name of the object; empty in dumps of versions before 0.2. */
  readonly tags: ReadonlyMap<string, ProgramTags>;
  readonly maps: ReadonlyMap<number, DumpedMap>;
  readonly programs: ReadonlyMap<number, ProgramInfo>;
  readonly links: readonly DumpedLink[];
  readonly namespaces: readonly DumpedNamespace[];
  /** Absent when the node's namespace was not found. */
  readonly network?: DumpedNetwork;
}

/** Returns a pinned map by its name, or undefined when the dump has none. */
export function mapNamed({ maps }: Pick<Dump, 'maps'>, name: MapName): DumpedMap | undefined {
  for (const map of maps.values()) if (map.pin === name) return map;
  return undefined;
}

/** Returns the number of entries in a dumped map. */
export function entryCount({ info, valueBytes, entries }: DumpedMap): number {
  const bytes = entries.reduce((sum, chunk) => sum + chunk.length, 0);
  return bytes === 0 ? 0 : bytes / (info.keySize + valueBytes);
}

/** Returns the entries of a dumped map. */
export function* entriesOf(map: DumpedMap): Generator<[key: Uint8Array, value: Uint8Array]> {
  const { keySize } = map.info;
  const step = keySize + map.valueBytes;
  for (const chunk of map.entries) {
    for (let at = 0; at + step <= chunk.length; at += step) {
      yield [chunk.subarray(at, at + keySize), chunk.subarray(at + keySize, at + step)];
    }
  }
}

/** Returns the elements of a pinned map by its name, or nothing when the dump does not have it. */
export function elementsOf(
  dump: Pick<Dump, 'maps'>,
  name: MapName,
): [key: Uint8Array, value: Uint8Array][] {
  const map = mapNamed(dump, name);
  return map ? [...entriesOf(map)] : [];
}
