import type { Family } from '@heddle/objects';

/**
 * The choice of paths to the pods of other nodes. `auto`: directly where the other node is on-link, through
 * a tunnel elsewhere. `native`: always by the routes of the network. `tunnel`: always through a tunnel.
 */
export type Routing = 'auto' | 'native' | 'tunnel';

/** The path of packets of one family to the pods of another node. */
export interface NodePath {
  /** The family of the pods' addresses. */
  readonly family: Family;
  readonly mode: 'direct' | 'tunnel';
  /**
   * The node's address that is the next hop or the other end of the tunnel. It is absent where the
   * node is not on-link and the network's routes are used.
   */
  readonly via?: string;
  /** ifindex of the interface that leads to the next hop, or of the tunnel device. */
  readonly link?: number;
  /** The outer source address of a tunnel. */
  readonly from?: string;
  /** The source address of packets that this node's own processes send into a tunnel. */
  readonly source?: string;
  /** The cause of the choice, in words. */
  readonly reason: string;
}

/** Another node, and how its pods are reached. */
export interface RemoteNode {
  /** The name of the Node. */
  readonly key: string;
  /** The addresses at which other nodes reach it, at most one of each family. Its tunnels come from them. */
  readonly addresses: readonly string[];
  /** Its further addresses, to which pods must not send tunnels either. Absent if there are none. */
  readonly further?: readonly string[];
  /** The ranges of its pods' addresses that can be used. */
  readonly ranges: readonly string[];
  /** One for each family of the ranges. */
  readonly paths: readonly NodePath[];
  /** The reasons why some of the node's pods, or all, cannot be reached, in sentences. */
  readonly problems: readonly string[];
}

/** A route of this node, as far as it decides how other nodes are reached. */
export interface UnderlayRoute {
  readonly destination: string;
  /** ifindex of the interface; absent for a route with several next hops. */
  readonly link?: number;
  /** The name of the interface. */
  readonly device: string;
  /** True if hosts in the range are on the link of an external interface, without a router between. */
  readonly isOnLink: boolean;
}

/** The network between the nodes, as this node sees it. */
export interface Underlay {
  /** The addresses of this node, the preferred ones first. */
  readonly addresses: readonly string[];
  /** The routes of the main table, but those that lead to pods of other nodes. */
  readonly routes: readonly UnderlayRoute[];
  /** ifindex of the tunnel device; absent if there is none. */
  readonly tunnel?: number;
}
