import type { ServiceImpl } from '@connectrpc/connect';
import { formatEndpoint } from '@heddle/sys';
import { ChangeNotificationType, type Peer } from '../generated/peer/peer_pb.js';
import { Waiting } from '../waiting.ts';

/** An observer of the cluster. */
export interface PeerNode {
  /** CLUSTER/NODE, or NODE in the cluster `default`. */
  readonly name: string;
  /** HOST:PORT. */
  readonly address: string;
  /** The name in the observer's certificate; undefined if it has no TLS. */
  readonly tlsServerName?: string | undefined;
}

/** The settings that the observers of a cluster have in common. */
export interface PeerSettings {
  /** HOST:PORT of this node's observer, or :PORT for the first address of its Node. Those of others have the same port. */
  readonly address: string;
  readonly cluster: string;
  readonly hasTls: boolean;
}

/**
 * Returns this node's observer and those of the other nodes, at the first of their addresses. This node's is left out
 * while its Node is not known, if the address has no host.
 */
export function peersOf(
  ownNode: string,
  nodes: readonly { readonly name: string; readonly addresses: readonly string[] }[],
  { address, cluster, hasTls }: PeerSettings,
): PeerNode[] {
  const port = Number(/:(\d+)$/.exec(address)?.[1]);
  const [own] = nodes.find(({ name }) => name === ownNode)?.addresses ?? [];
  const ownAddress = !address.startsWith(':') ? address : own && formatEndpoint(own, port);
  const peer = (node: string, at: string): PeerNode => ({
    ...{ name: peerName(node, cluster), address: at },
    tlsServerName: hasTls ? serverName(node, cluster) : undefined,
  });
  const others = nodes.flatMap(({ name, addresses: [first] }) =>
    first === undefined || name === ownNode ? [] : [peer(name, formatEndpoint(first, port))],
  );
  return ownAddress === undefined ? others : [peer(ownNode, ownAddress), ...others];
}

/** Returns the name of a node as flows and peers have it. */
export function peerName(node: string, cluster: string): string {
  return cluster === 'default' ? node : `${cluster}/${node}`;
}

/** Returns the name that relays of Hubble expect in a node's certificate. */
export function serverName(node: string, cluster: string): string {
  const label = (name: string) => name.replaceAll('.', '-');
  return `${label(node)}.${label(cluster)}.hubble-grpc.cilium.io`;
}

/** The observers of the cluster, and the service by which relays follow them. */
export class PeerList {
  #peers: ReadonlyMap<string, PeerNode> = new Map();
  readonly #waiting = new Waiting();

  /** Replaces the list. */
  set(peers: readonly PeerNode[]): void {
    this.#peers = new Map(peers.map((peer) => [peer.name, peer]));
    this.#waiting.wake();
  }

  /** Returns the implementation of the service. A slow client gets the changes that count when it reads. */
  service(): ServiceImpl<typeof Peer> {
    const list = this;
    return {
      async *notify(_request, { signal }) {
        let sent: ReadonlyMap<string, PeerNode> = new Map();
        while (!signal.aborted) {
          const now = list.#peers;
          for (const change of changes(sent, now)) yield change;
          sent = now;
          if (list.#peers === now) await list.#waiting.changed(signal);
        }
      },
    };
  }
}

function changes(from: ReadonlyMap<string, PeerNode>, to: ReadonlyMap<string, PeerNode>) {
  const { PEER_ADDED, PEER_UPDATED, PEER_DELETED } = ChangeNotificationType;
  const notification = (type: ChangeNotificationType, peer: PeerNode) => ({
    ...{ type, name: peer.name, address: peer.address },
    ...(peer.tlsServerName === undefined ? {} : { tls: { serverName: peer.tlsServerName } }),
  });
  const removed = [...from.values()].filter(({ name }) => !to.has(name));
  const others = [...to.values()].flatMap((peer) => {
    const known = from.get(peer.name);
    if (!known) return [notification(PEER_ADDED, peer)];
    const isSame = known.address === peer.address && known.tlsServerName === peer.tlsServerName;
    return isSame ? [] : [notification(PEER_UPDATED, peer)];
  });
  return [...removed.map((peer) => notification(PEER_DELETED, peer)), ...others];
}
