import type {
  AgentEvent,
  AgentStatus,
  BackendEntry,
  EffectiveConfig,
  FlowItem,
  NatDestination,
  PodEntry,
  ServiceDetail,
  ServiceEntry,
} from '@heddle/agent';
import type { LinkInfo, MapInfo, ProgramInfo } from '@heddle/ebpf';
import type { LinkAddress, Neighbour, NetworkLink, Route } from '@heddle/netlink';
import type { ProgramTags } from './tags.ts';

// What a node's dump holds. In memory it is a `Dump`; in a file it is a row of records (file.ts).

/** When, where and by what a dump was made. */
export interface DumpHead {
  /** ISO 8601 in UTC. */
  readonly created: string;
  /** Nanoseconds of CLOCK_MONOTONIC then. */
  readonly monotonicNs: bigint;
  /** Version of the command that made it. */
  readonly heddle: string;
  /** The kernel's release. */
  readonly kernel: string;
  readonly arch: string;
  /** CPUs that per-CPU maps have a value for. */
  readonly cpus: number;
  readonly bpffs: string;
}

/** What the agent answers to the read commands: what it knows beyond the maps. */
export interface Answers {
  readonly status: AgentStatus;
  readonly config: EffectiveConfig;
  readonly services: readonly ServiceEntry[];
  /** Of each service all that is known; empty where nobody asks for it. */
  readonly details: readonly ServiceDetail[];
  readonly backends: readonly BackendEntry[];
  /** Pods of the node with addresses of their own; empty in dumps of versions before 0.2. */
  readonly pods: readonly PodEntry[];
  readonly events: readonly AgentEvent[];
  readonly flows: readonly FlowItem[];
  readonly nat: readonly NatDestination[];
}

/** A map with what it holds. */
export interface DumpedMap {
  readonly info: MapInfo;
  /** File name of its pin; absent for the constants of a program. */
  readonly pin?: string;
  /** Bytes of a value: of a per-CPU map those of all CPUs. */
  readonly valueBytes: number;
  /** Keys and values by turns. Of arrays, elements that are all zero are left out. */
  readonly entries: readonly Uint8Array[];
  /** There were more entries than a dump takes. */
  readonly cut: boolean;
}

/** A pinned link and the program that stands there. */
export interface DumpedLink {
  /** File name of its pin, e.g. `connect4` or `node_ingress@eth0`. */
  readonly pin: string;
  readonly info: LinkInfo;
}

export interface DumpedNamespace {
  readonly inode: number;
  readonly cookie: bigint;
  /** The one whose NodePorts are served. */
  readonly isNode: boolean;
  /** Whether processes in it are in the cgroup that Heddle serves; undefined when none was seen. */
  readonly isServed?: boolean;
  /** True when one of its network interfaces is tied to one of the node's that is not external, as a pod's is. */
  readonly isAttached?: boolean;
  /** The names that it may be known by: the pod or the Node, the name of its mount, host names of its processes. */
  readonly names: readonly string[];
  readonly addresses: readonly string[];
}

/** The node's own network namespace: what a packet's way on depends on. */
export interface DumpedNetwork {
  readonly links: readonly NetworkLink[];
  readonly addresses: readonly LinkAddress[];
  readonly routes: readonly Route[];
  readonly neighbours: readonly Neighbour[];
  /** net.ipv4.ip_forward and net.ipv6.conf.all.forwarding. */
  readonly forwards: { readonly ipv4: boolean; readonly ipv6: boolean };
}

export interface Dump {
  readonly head: DumpHead;
  /** Absent: no agent answered, for this reason. */
  readonly answers: Answers | { readonly missing: string };
  /** Compiled objects that the version at work brings along, by name: `socket`, `node`. */
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

/** A pinned map by its name; undefined when the dump has none. */
export function mapNamed({ maps }: Pick<Dump, 'maps'>, name: string): DumpedMap | undefined {
  for (const map of maps.values()) if (map.pin === name) return map;
  return undefined;
}

/** Number of entries that a dumped map holds. */
export function entryCount({ info, valueBytes, entries }: DumpedMap): number {
  const bytes = entries.reduce((sum, chunk) => sum + chunk.length, 0);
  return bytes === 0 ? 0 : bytes / (info.keySize + valueBytes);
}

/** The elements of a dumped map. */
export function* entriesOf(map: DumpedMap): Generator<[key: Uint8Array, value: Uint8Array]> {
  const { keySize } = map.info;
  const step = keySize + map.valueBytes;
  for (const chunk of map.entries) {
    for (let at = 0; at + step <= chunk.length; at += step) {
      yield [chunk.subarray(at, at + keySize), chunk.subarray(at + keySize, at + step)];
    }
  }
}
