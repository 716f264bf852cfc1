import type { DatapathStatus, DropNotice } from '@heddle/datapath';
import type { RuleAction } from '@heddle/policy';
import type { HttpServerStatus } from '@heddle/rpc';
import type { Config } from './config.ts';
import type { IntegrityStatus } from './integrity-watch.ts';
import type { SourceProblem, SourceState } from './source/index.ts';

// The answers of the control socket that no feature owns. The shapes are stable: fields are added, not changed.
// Times are ISO 8601 text in UTC.

/** The state of a row: `done` is programmed. */
export interface RowState {
  readonly status: 'pending' | 'done' | 'failed';
  /** The reason why it failed. */
  readonly reason?: string;
  /** The time at which it came into this state. */
  readonly since: string;
}

/** The number of rows in each state. */
export interface RowCounts {
  readonly done: number;
  readonly pending: number;
  readonly failed: number;
}

/** A page of a list. */
export interface Page<Item> {
  readonly items: readonly Item[];
  /** `after` of the next page; absent on the last. */
  readonly next?: string;
}

/** The configuration that the agent runs with, defaults included. */
export type EffectiveConfig = Config & {
  readonly node: string;
  readonly cgroup: string;
  readonly healthAddress: string;
  readonly metricsAddress: string;
};

/** The fields of AgentStatus that no feature owns. */
export interface CoreStatus {
  readonly version: string;
  readonly node: string;
  readonly pid: number;
  /** The network namespace of the agent, e.g. `net:[4026531840]`; absent where /proc has none. */
  readonly networkNamespace?: string;
  readonly started: string;
  readonly residentBytes?: number;
  readonly source: {
    readonly kind: SourceState['kind'];
    /** The folder, or the URL of the API server that is in use or is tried. */
    readonly path: string;
    /** `starting` until everything was read once; while `disconnected`, programmed rows stay as they are. */
    readonly phase: SourceState['phase'];
    /** The time at which the phase began. */
    readonly since: string;
    /** The time at which the last object arrived. */
    readonly lastEvent?: string;
    /** The reason why it is disconnected. */
    readonly reason?: string;
    /** The time of the next attempt to connect. */
    readonly retryAt?: string;
    /** True once everything could be read and used; nothing is pruned before. */
    readonly complete: boolean;
    readonly problems: readonly SourceProblem[];
  };
  /** Health and metrics, unless they are off. */
  readonly servers: readonly ({ readonly name: 'health' | 'metrics' } & HttpServerStatus)[];
  /**
   * True once all objects were read. Before, `rows` has no meaning: the kernel serves what an earlier agent
   * programmed, which `datapath.maps` counts.
   */
  readonly synced: boolean;
  /** The rows of all features. */
  readonly rows: RowCounts;
  /** The state of what was programmed in the kernel. */
  readonly integrity: IntegrityStatus;
  readonly datapath: DatapathStatus;
  /** Packets dropped on the node's network interfaces, by reason. */
  readonly drops: readonly { reason: string; count: number }[];
  /** Dangers that need an action, in sentences with the remedy. */
  readonly warnings: readonly string[];
}

/** The rule that decided about a connection in one direction. */
export interface VerdictRule {
  /** `NetworkPolicy default/web` or `ClusterNetworkPolicy baseline`. */
  readonly policy: string;
  /** The position in the list of the policy, from 0. */
  readonly rule: number;
  /** The name that it may have in a ClusterNetworkPolicy. */
  readonly name?: string;
  readonly action: RuleAction;
}

/** Notices that a method for followers does not return, because there were too many in a second. */
export interface FeedLoss {
  readonly lost: number;
}

/** A dropped packet, as `drops.follow` returns it. */
export interface DropEntry extends DropNotice {
  /** The pod (`namespace/name`) at the interface; absent at other interfaces, and if it is unknown. */
  readonly pod?: string;
  /** The rule that denies the packet; absent if none does, and if it is not programmed any more. */
  readonly deniedBy?: VerdictRule;
}
