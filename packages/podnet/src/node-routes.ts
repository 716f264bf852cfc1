import {
  listRoutes,
  type NetlinkSocket,
  type Route,
  removeRoute,
  replaceRoute,
} from '@heddle/netlink';
import { tunnelId } from './tunnel-device.ts';

/** The number by which the routes to pods of other nodes are known (`proto 104`). */
export const routeProtocol = 104;

/** A route of the node's own stack to a range of pods' addresses on another node. */
export interface NodeRoute {
  readonly destination: string;
  /** ifindex of the interface that packets leave by. */
  readonly link: number;
  /** The next hop of a direct route. */
  readonly via?: string;
  /** The other end of a tunnel; `link` is then the tunnel device. */
  readonly tunnelTo?: string;
  /** The outer source address of a tunnel. Default: the kernel chooses one. */
  readonly tunnelFrom?: string;
  /** The source address of packets of the node's own processes. Default: the kernel chooses one. */
  readonly source?: string;
}

/**
 * The routes of the node's own stack to pods of other nodes, in the main table. A protocol number of their own
 * distinguishes them from the routes of others, which stay as they are.
 */
export class NodeRoutes {
  /** The routes by destination, and who has each. */
  readonly #routes = new Map<string, { readonly owner: string; readonly route: NodeRoute }>();

  /** Sets the routes of a node, and removes those that it no longer has. Throws NetlinkError. */
  set(socket: NetlinkSocket, owner: string, routes: readonly NodeRoute[]): void {
    for (const route of routes) {
      replaceRoute(socket, kernelRoute(route));
      this.#routes.set(route.destination, { owner, route });
    }
    const kept = new Set(routes.map(({ destination }) => destination));
    this.#drop(socket, owner, (destination) => !kept.has(destination));
  }

  /** Removes the routes of a node. Throws NetlinkError. */
  remove(socket: NetlinkSocket, owner: string): void {
    this.#drop(socket, owner, () => true);
  }

  /** Removes the routes that an earlier process has left and no node has. Throws NetlinkError. */
  prune(socket: NetlinkSocket): void {
    for (const route of ownRoutes(socket)) {
      if (!this.#routes.has(route.destination)) removeRoute(socket, identity(route));
    }
  }

  /** Adds the routes that others have removed or changed. Returns how many there were. Throws NetlinkError. */
  repair(socket: NetlinkSocket): number {
    const present = new Map(ownRoutes(socket).map((route) => [route.destination, route]));
    let repaired = 0;
    for (const { route } of this.#routes.values()) {
      const wanted = kernelRoute(route);
      if (isSame(present.get(route.destination), wanted)) continue;
      replaceRoute(socket, wanted);
      repaired++;
    }
    return repaired;
  }

  #drop(socket: NetlinkSocket, owner: string, isDropped: (destination: string) => boolean): void {
    for (const [destination, { owner: present, route }] of this.#routes) {
      if (present !== owner || !isDropped(destination)) continue;
      removeRoute(socket, identity(kernelRoute(route)));
      this.#routes.delete(destination);
    }
  }
}

function ownRoutes(socket: NetlinkSocket): Route[] {
  return listRoutes(socket).filter(({ protocol }) => protocol === routeProtocol);
}

/** A removal needs no more: there is one route of the protocol to a destination. */
function identity({ destination }: Route): Route {
  return { destination, protocol: routeProtocol };
}

function kernelRoute({ tunnelTo, tunnelFrom, ...route }: NodeRoute): Route {
  const { destination, link, via, source } = route;
  const common = {
    ...{ destination, link, protocol: routeProtocol },
    ...(source === undefined ? {} : { source }),
  };
  if (tunnelTo === undefined) return via === undefined ? common : { ...common, via };
  const encap = {
    ...{ id: tunnelId, destination: tunnelTo, hopLimit: 64 },
    ...(tunnelFrom === undefined ? {} : { source: tunnelFrom }),
    // IPv6 demands a checksum unless both ends agree to do without (RFC 6935).
    checksum: tunnelTo.includes(':'),
  };
  return { ...common, scope: 'link', encap };
}

function isSame(present: Route | undefined, wanted: Route): boolean {
  const { via, link, source, encap } = present ?? {};
  return (
    present !== undefined &&
    via === wanted.via &&
    link === wanted.link &&
    source === wanted.source &&
    encap?.destination === wanted.encap?.destination &&
    encap?.source === wanted.encap?.source &&
    encap?.id === wanted.encap?.id
  );
}
