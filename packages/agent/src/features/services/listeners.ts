import { type InetSocket, listSockets, NETLINK_SOCK_DIAG, NetlinkSocket } from '@heddle/netlink';
import { familyOf, isLoopback, isUnspecified } from '@heddle/objects';
import type { Frontend, ServiceRow } from '@heddle/services';
import { formatEndpoint, type Platform } from '@heddle/sys';
import { AF_INET6 } from '@heddle/sys/net';

/** A listening socket of the node. */
export type Listener = Pick<
  InetSocket,
  'family' | 'protocol' | 'source' | 'sourcePort' | 'ipv6Only'
>;

/** Returns the sockets of this network namespace that listen (TCP), or are bound and not connected (UDP). Throws NetlinkError. */
export function listeners(platform: Platform): Listener[] {
  using socket = new NetlinkSocket(platform, NETLINK_SOCK_DIAG);
  return [
    ...listSockets(socket, { protocol: 'tcp', states: ['listen'] }),
    ...listSockets(socket, { protocol: 'udp', states: ['close'] }),
  ];
}

/**
 * Returns warnings about frontends at addresses of the node where a process of the node listens, too, in sentences
 * with the remedy: the process receives no traffic of the frontend. Heddle refuses a later bind; an earlier socket
 * stays, as with kube-proxy. `isOwn` returns true for the addresses of the node.
 */
export function shadowedListeners(
  rows: Iterable<ServiceRow>,
  sockets: readonly Listener[],
  isOwn: (address: string) => boolean,
): string[] {
  const byPort = new Map<string, Listener[]>();
  for (const socket of sockets) {
    const key = `${socket.protocol.toUpperCase()} ${socket.sourcePort}`;
    byPort.set(key, [...(byPort.get(key) ?? []), socket]);
  }
  const sentences = new Set<string>();
  for (const { namespace, name, frontends } of rows) {
    for (const frontend of frontends) {
      const { kind, port, protocol, address } = frontend;
      if (kind === 'ClusterIP') continue;
      // NodePorts and hostPorts are served at the node's own addresses.
      if ((kind === 'ExternalIP' || kind === 'LoadBalancer') && !isOwn(address)) continue;
      const socket = byPort.get(`${protocol} ${port}`)?.find((each) => overlaps(each, frontend));
      if (!socket) continue;
      const where = `${formatEndpoint(socket.source, port)}/${protocol}`;
      const what =
        kind === 'ExternalIP' ? `externalIP ${formatEndpoint(address, port)}` : `${kind} ${port}`;
      sentences.add(
        `${what} of ${namespace}/${name}: a process of this node listens at ${where} and gets nothing of what comes to the service (give one of them another port or address)`,
      );
    }
  }
  return [...sentences];
}

/** Returns true if the socket would receive the frontend's traffic; the unspecified address means loopback. */
function overlaps({ family, source, ipv6Only }: Listener, { address }: Frontend): boolean {
  if (source === address) return true;
  if (isUnspecified(source)) {
    const takesBoth = family === AF_INET6 && !ipv6Only && source === '::';
    return takesBoth || familyOf(source) === familyOf(address);
  }
  return isUnspecified(address) && isLoopback(source) && familyOf(source) === familyOf(address);
}
