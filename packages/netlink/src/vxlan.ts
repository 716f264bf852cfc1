import {
  createdLink,
  IFLA_INFO_DATA,
  IFLA_INFO_KIND,
  IFLA_LINKINFO,
  type NetworkLink,
  type NewLink,
  newLinkMessage,
} from './links.ts';
import type { NetlinkSocket } from './socket.ts';
import { type ExternalVxlan, writeVxlan } from './vxlan-settings.ts';

/**
 * Creates a VXLAN device in external mode (metadata mode), for IPv4 and IPv6 between the ends, and
 * returns it. Routes with `encap` and BPF programs choose the tunnel of a packet. Throws NetlinkError
 * (EEXIST also when another such device has the port).
 */
export function createVxlan(
  socket: NetlinkSocket,
  link: NewLink,
  settings: ExternalVxlan,
): NetworkLink {
  const writer = newLinkMessage(link);
  writer.nested(IFLA_LINKINFO, () => {
    writer.text(IFLA_INFO_KIND, 'vxlan');
    writer.nested(IFLA_INFO_DATA, () => writeVxlan(writer, settings));
  });
  socket.request(writer, `create vxlan ${link.name}`);
  return createdLink(socket, link);
}
