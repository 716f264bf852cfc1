import type { Kind, ObjectChange, ObjectRef } from '@heddle/objects';
import type { LogLevel, Platform } from '@heddle/sys';
import type { Follow } from './control/server.ts';
import type { EventLog } from './events.ts';
import type { MetricFacts } from './metrics/agent-metrics.ts';
import type { Registry } from './metrics/registry.ts';
import type { OwnAddress } from './node/own-addresses.ts';
import type { ServerAddress, SourceState } from './source/source.ts';
import type { Watch } from './source/watches.ts';
import type { EffectiveConfig, RowCounts, VerdictRule } from './status.ts';

/**
 * A feature as the agent knows it before it runs: one entry in the list of `features/index.ts`. `Datapath` is
 * the part of the datapath that the feature needs.
 */
export interface FeatureDefinition<Datapath> {
  readonly name: string;
  /** The kinds of objects that the feature is made of. */
  readonly kinds: readonly Kind[];
  /** The control methods whose lists `heddle dump` keeps, and `--from-dump` returns. */
  readonly dump?: readonly string[];
  /** The action against a map that is nearly full, by the name of the map. */
  readonly remedies?: Readonly<Record<string, string>>;
  /** Checks objects without a node or a kernel, for `heddle validate`. */
  readonly validate?: (changes: readonly ObjectChange[]) => Validation;
  /** Starts the feature. Throws what the datapath throws. */
  readonly open: (host: FeatureHost, datapath: Datapath) => Feature;
}

/** A pod as its interface records it. */
export interface AttachedPod {
  readonly namespace: string;
  readonly name: string;
  /** The uid that the kubelet gave; empty if it gave none. */
  readonly uid: string;
}

/** The result of checking objects. */
export interface Validation {
  /** The number of rows that the objects make. */
  readonly rows: number;
  readonly problems: readonly { readonly object: ObjectRef; readonly message: string }[];
}

/**
 * A running feature: objects of its kinds become rows of its own tables, and its reconcilers program these. The
 * agent calls all features in the order of the list, from the event loop. Disposing a feature leaves what is
 * programmed.
 */
export interface Feature extends Disposable {
  /** The objects that the feature wants now. When they change, it calls `rewatch` of the host. */
  readonly watches: readonly Watch[];
  /** Called with each change of its kinds as it is read, before `apply` has it; see Demand. */
  observe?(change: ObjectChange): void;
  /** Called before the first `apply`, when everything that is watched was listed; see Demand. */
  beforeFirst?(): void;
  /**
   * Takes the changes of its kinds; there may be objects that its watches do not select. `isComplete`: the source
   * has delivered everything, so that the feature may remove what an earlier agent has left.
   */
  apply(changes: readonly ObjectChange[], isComplete: boolean): void;
  /** Takes the node's own addresses: at the start, and whenever they change. */
  setAddresses?(own: readonly OwnAddress[]): void;
  /** Takes the addresses of the API servers, which objects must not take over. */
  setApiServers?(servers: readonly ServerAddress[]): void;
  /** Called with each interface of a pod of this node, before it is up. */
  attach?(pod: AttachedPod, addresses: readonly string[]): void;
  /** Called when the interface with these addresses is gone. */
  detach?(addresses: readonly string[]): void;
  /**
   * Has the container runtime wait for an address of a pod: calls `done` once the pod may start, unless the result is
   * disposed before. Returns undefined if it may start now.
   */
  holdPod?(address: string, done: () => void): Disposable | undefined;
  /** Called once, when every row of the first objects has been tried. */
  onFirstRead?(): void;
  /** Called when another process is about to remove what Heddle has programmed: from then on nothing is repaired. */
  release?(): void;
  readonly progress?: Progress;
  /** False while load balancers have to send the node no new traffic. */
  readonly isNodeEligible?: boolean;
  /** Returns fields of `heddle status -o json`. */
  status?(): object;
  /** Returns warnings for `heddle status`, in sentences with the remedy. */
  warnings?(facts: WarningFacts): readonly string[];
  addMetrics?(registry: Registry<MetricFacts>): void;
  /** The methods of the control protocol, by name. */
  readonly methods?: Methods;
  /** Returns the pod (`namespace/name`) at an interface of the node, or undefined if no known pod is there. */
  podAt?(ifindex: number): string | undefined;
  /** Returns the rule of network policies with a number, as drops and verdicts name it. */
  ruleAt?(number: number): VerdictRule | undefined;
  /** Returns the names (`namespace/name`) of what is served, by `TCP 192.0.2.1 80`. */
  owners?(): Iterable<readonly [string, string]>;
}

/** The work of a feature on its rows. */
export interface Progress {
  counts(): RowCounts;
  /** The milliseconds for which the oldest change that is not programmed has waited; 0 without one. */
  readonly waitedMs: number;
  /** The time at which all changes were last programmed, in milliseconds since 1970. */
  readonly lastDoneMs: number | undefined;
}

/** The facts about the node that warnings depend on. */
export interface WarningFacts {
  readonly datapath: MetricFacts['status']['datapath'];
  readonly source: SourceState;
  /** The source has delivered everything. */
  readonly isComplete: boolean;
}

export type Params = Readonly<Record<string, unknown>>;

/** Answers a request with a result, or throws ControlError. */
export type Method = (params: Params, follow: Follow) => unknown;
export type Methods = Readonly<Record<string, Method>>;

/** The agent as features see it. */
export interface FeatureHost {
  readonly platform: Platform;
  readonly config: EffectiveConfig;
  readonly events: EventLog;
  /** Returns the bytes of the CNI plug-in for this architecture. */
  readonly cniPlugin: () => Uint8Array;
  /** The level of log lines about changes of objects: people change manifests, clusters change all the time. */
  readonly changeLevel: LogLevel;
  /** True once every row of the first objects has been tried: from then on each change is an event. */
  readonly isSettled: boolean;
  /** True while changes are programmed in time and nothing in the kernel is broken. */
  readonly isHealthy: boolean;
  /** A feature has tried all of its pending rows. */
  onIdle(): void;
  /** A feature's watches have changed. */
  rewatch(): void;
  /** Adds API servers that objects name to those that the source may connect to. */
  setApiServers(servers: readonly ServerAddress[]): void;
  /** Reports an interface of a pod of this node to all features. */
  attach(pod: AttachedPod, addresses: readonly string[]): void;
  /** Reports that the interface with these addresses is gone. */
  detach(addresses: readonly string[]): void;
  /** Calls `done` once no feature holds a pod; see `holdPod` of Feature. Returns undefined if none does now. */
  holdPod(address: string, done: () => void): Disposable | undefined;
  /** Returns what all features serve; see `owners` of Feature. */
  owners(): ReadonlyMap<string, string>;
}
