import {
  addAddress,
  changeLink,
  createVxlan,
  deleteLink,
  findLink,
  IFF_NOARP,
  isNetlinkError,
  listAddresses,
  NetlinkError,
  type NetlinkSocket,
  type NetworkLink,
  removeAddress,
  Sysctls,
} from '@heddle/netlink';
import type { Platform } from '@heddle/sys';

/** The name of the device of tunnels to other nodes. */
export const tunnelName = 'heddle0';

/** The number of the virtual network in all tunnels. */
export const tunnelId = 1;

/** The bytes that a tunnel adds to a packet, by the family of the outer addresses. */
export const tunnelOverhead = { IPv4: 50, IPv6: 70 } as const;

/** The device of tunnels to other nodes, as it should be. */
export interface TunnelDevice {
  /** UDP port of the tunnels. */
  readonly port: number;
  /** The largest packet in a tunnel, in bytes. */
  readonly mtu: number;
  /** The addresses that the node has in tunnels, the sources of its own packets to pods of other nodes. */
  readonly addresses: readonly string[];
  /** Directory through which network settings can be written (see `Sysctls`). Default: /proc/sys/net. */
  readonly sysctls?: string | undefined;
}

/**
 * Creates the device of tunnels, or changes what differs of the present one, and returns it. Each packet
 * says by its route or its program which tunnel it goes through. To be called in the network namespace of
 * the socket. Throws NetlinkError, SysError.
 */
export function ensureTunnelDevice(
  platform: Platform,
  socket: NetlinkSocket,
  wanted: TunnelDevice,
): NetworkLink {
  const found = findLink(socket, tunnelName);
  const fits = found?.kind === 'vxlan' && found.vxlan?.port === wanted.port;
  if (found && !fits) deleteLink(socket, found.index);
  const link = found && fits ? found : createTunnel(platform, socket, wanted);
  const { index, mtu, up, flags } = link;
  if (mtu !== wanted.mtu || !up || (flags & IFF_NOARP) === 0) {
    changeLink(socket, index, { mtu: wanted.mtu, up: true, arp: false });
  }
  setAddresses(socket, index, wanted.addresses);
  return link;
}

/** Removes the device of tunnels, and with it its routes. Returns false when there is none. Throws NetlinkError. */
export function removeTunnelDevice(socket: NetlinkSocket): boolean {
  const link = findLink(socket, tunnelName);
  return link !== undefined && deleteLink(socket, link.index);
}

function createTunnel(
  platform: Platform,
  socket: NetlinkSocket,
  { port, mtu, sysctls }: TunnelDevice,
): NetworkLink {
  // A frame whose source is the device's own address is dropped as a loop, so the nodes' addresses differ.
  const bytes = [0x02, ...platform.randomBytes(5)];
  const address = bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
  try {
    const link = createVxlan(socket, { name: tunnelName, address, mtu, arp: false }, { port });
    configure(new Sysctls(platform, sysctls));
    changeLink(socket, link.index, { up: true });
    return link;
  } catch (error) {
    removeTunnelDevice(socket);
    if (!isNetlinkError(error, 'EADDRINUSE', 'EEXIST')) throw error;
    const what = `create tunnel device ${tunnelName}: another program has UDP port ${port} (set tunnelPort to another port, on all nodes)`;
    throw new NetlinkError(what, error.errno);
  }
}

function configure(sysctls: Sysctls): void {
  sysctls.write(`ipv4/conf/${tunnelName}/forwarding`, 1);
  // The program of the device validates sources.
  sysctls.write(`ipv4/conf/${tunnelName}/rp_filter`, 0);
  if (!sysctls.has('ipv6')) return;
  sysctls.write(`ipv6/conf/${tunnelName}/disable_ipv6`, 0);
  // 1 (IN6_ADDR_GEN_MODE_NONE): the device needs no link-local address.
  sysctls.write(`ipv6/conf/${tunnelName}/addr_gen_mode`, 1);
  sysctls.write(`ipv6/conf/${tunnelName}/forwarding`, 1);
  sysctls.write(`ipv6/conf/${tunnelName}/accept_ra`, 0);
}

function setAddresses(socket: NetlinkSocket, link: number, wanted: readonly string[]): void {
  const present = listAddresses(socket, link).filter(({ scope }) => scope === 'universe');
  for (const { address, prefixLength } of present) {
    if (!wanted.includes(address)) removeAddress(socket, link, `${address}/${prefixLength}`);
  }
  for (const address of wanted) {
    if (present.some((each) => each.address === address)) continue;
    addAddress(socket, link, `${address}/${address.includes(':') ? 128 : 32}`);
  }
}
