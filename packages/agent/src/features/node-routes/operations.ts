import { NetlinkSocket } from '@heddle/netlink';
import { familyOf } from '@heddle/objects';
import { type NodeRoute, NodeRoutes } from '@heddle/podnet';
import type { NodePath, RemoteNode } from '@heddle/routes';
import type { Operations } from '@heddle/state';
import type { Platform } from '@heddle/sys';
import type { NodeRoutesDatapath } from './datapath.ts';

/** Programs the paths to other nodes: the kernel's routes for the node's own stack, and the maps of the programs. */
export class NodeRouteOperations implements Operations<RemoteNode> {
  readonly #platform: Platform;
  readonly #datapath: NodeRoutesDatapath['nodeRoutes'];
  readonly #tunnelProblem: () => string | undefined;
  readonly #routes = new NodeRoutes();

  /** `tunnelProblem` returns the reason why there is no tunnel device. */
  constructor(
    platform: Platform,
    datapath: NodeRoutesDatapath['nodeRoutes'],
    tunnelProblem: () => string | undefined,
  ) {
    this.#platform = platform;
    this.#datapath = datapath;
    this.#tunnelProblem = tunnelProblem;
  }

  update(rows: readonly RemoteNode[]): readonly (Error | undefined)[] {
    using socket = new NetlinkSocket(this.#platform);
    return rows.map((row) => attempt(() => this.#update(socket, row)));
  }

  remove(keys: readonly string[]): readonly (Error | undefined)[] {
    using socket = new NetlinkSocket(this.#platform);
    return keys.map((key) =>
      attempt(() => {
        this.#datapath.remove(key);
        this.#routes.remove(socket, key);
      }),
    );
  }

  prune(): void {
    using socket = new NetlinkSocket(this.#platform);
    this.#datapath.prune();
    this.#routes.prune(socket);
  }

  /** Adds the kernel's routes that others have removed. Returns how many there were. Throws SysError, NetlinkError. */
  repair(): number {
    using socket = new NetlinkSocket(this.#platform);
    return this.#routes.repair(socket);
  }

  /** Programs what can be used of a row, and throws an Error with the rest. */
  #update(socket: NetlinkSocket, row: RemoteNode): void {
    const lacksTunnel = row.paths.some(({ mode, link }) => mode === 'tunnel' && link === undefined);
    const problems = [
      ...row.problems,
      ...(lacksTunnel ? [this.#tunnelProblem() ?? 'there is no tunnel device yet'] : []),
    ];
    this.#datapath.set(row);
    this.#routes.set(
      socket,
      row.key,
      row.ranges.flatMap((range) => kernelRoute(row, range) ?? []),
    );
    if (problems.length > 0) throw new Error(problems.join('; '));
  }
}

function attempt(work: () => void): Error | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

/** Returns the route to a range, or undefined if the network's routes lead there. */
function kernelRoute({ paths }: RemoteNode, destination: string): NodeRoute | undefined {
  const path = paths.find(({ family }) => family === familyOf(destination));
  if (path?.link === undefined || path.via === undefined) return undefined;
  return path.mode === 'direct'
    ? { destination, link: path.link, via: path.via }
    : { destination, link: path.link, tunnelTo: path.via, ...tunnelSources(path) };
}

function tunnelSources({ from, source }: NodePath): Pick<NodeRoute, 'tunnelFrom' | 'source'> {
  return {
    ...(from === undefined ? {} : { tunnelFrom: from }),
    ...(source === undefined ? {} : { source }),
  };
}
