import { type InetSocket, listSockets, NETLINK_SOCK_DIAG, NetlinkSocket } from '@heddle/netlink';
import { familyOf, isLoopback, isUnspecified } from '@heddle/objects';
import type { Frontend, ServiceRow } from '@heddle/services';
import { formatEndpoint, type Platform } from '@heddle/sys';
import { AF_INET6 } from '@heddle/sys/net';

/** A socket of the node that waits for clients, as far as it matters here. */
export type Listener = Pick<
  InetSocket,
  'family' | 'protocol' | 'source' | 'sourcePort' | 'ipv6Only'
>;

/** Sockets of this network namespace that listen (TCP), or that are bound and not connected (UDP). Throws NetlinkError. */
export function listeners(platform: Platform): Listener[] {
  using socket = new NetlinkSocket(platform, NETLINK_SOCK_DIAG);
  return [
    ...listSockets(socket, { protocol: 'tcp', states: ['listen'] }),
    ...listSockets(socket, { protocol: 'udp', states: ['close'] }),
  ];
}

/**
 * Frontends at addresses of the node at which a process of the node listens, too, in sentences with
 * the remedy: the process gets nothing of what comes to the frontend. Heddle refuses a bind after the
 * fact; who was there first is left alone, as kube-proxy leaves it. `isOwn` says which addresses the
 * node has.
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
      // The addresses of NodePorts and hostPorts are the node's own.
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

/** True when the socket would get what is sent to the frontend; at the unspecified address that is loopback. */
function overlaps({ family, source, ipv6Only }: Listener, { address }: Frontend): boolean {
  if (source === address) return true;
  if (isUnspecified(source)) {
    const takesBoth = family === AF_INET6 && !ipv6Only && source === '::';
    return takesBoth || familyOf(source) === familyOf(address);
  }
  return isUnspecified(address) && isLoopback(source) && familyOf(source) === familyOf(address);
}
