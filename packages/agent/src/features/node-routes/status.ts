import type { RowState } from '../../status.ts';

// The answers about other nodes. The shapes are stable: fields are added, not changed.

/** The fields of AgentStatus that paths to other nodes add. */
export interface NodeRoutesStatus {
  /** The paths to other nodes; absent if Heddle is not the network of the cluster. */
  readonly nodes?: {
    /** The addresses at which other nodes reach this one. */
    readonly addresses: readonly string[];
    /** The ranges of the addresses of this node's pods. */
    readonly ranges: readonly string[];
    /** The number of other nodes by mode. */
    readonly modes: Readonly<Record<NodeMode, number>>;
    /** The reason why there is no tunnel device although nodes may need it. */
    readonly tunnelProblem?: string;
  };
}

/** The path to a node: `mixed` if the families differ, `none` if no pod of it can be reached. */
export type NodeMode = 'direct' | 'tunnel' | 'mixed' | 'none';

/** The path to pods of one family on another node. */
export interface NodePathEntry {
  readonly family: string;
  readonly mode: 'direct' | 'tunnel';
  /** The next hop, or the other end of the tunnel; absent where the network's routes are used. */
  readonly via?: string;
  readonly reason: string;
}

/** Another node, as `node.list` returns it. */
export interface NodeEntry extends RowState {
  readonly name: string;
  readonly addresses: readonly string[];
  /** The ranges of its pods' addresses. */
  readonly ranges: readonly string[];
  readonly mode: NodeMode;
  readonly paths: readonly NodePathEntry[];
  /** The reasons why some of its pods, or all, cannot be reached. */
  readonly problems: readonly string[];
}
