import type { NetlinkSocket } from './socket.ts';
import { Attributes, MessageWriter } from './wire.ts';

// linux/rtnetlink.h and linux/net_namespace.h
const RTM_GETNSID = 90;
const NETNSA_NSID = 1;
const NETNSA_FD = 3;
/** struct rtgenmsg: family u8, padded to four bytes. */
const headerSize = 4;

/**
 * Returns the id by which the socket's network namespace knows the one that the descriptor
 * `namespaceFd` refers to: the value of a link's `peerNamespaceId` (RTM_GETNSID, Linux 4.0). Returns
 * undefined when there is none; the kernel assigns one when a link between the two namespaces is
 * listed. Throws NetlinkError.
 */
export function namespaceId(socket: NetlinkSocket, namespaceFd: number): number | undefined {
  const writer = new MessageWriter(RTM_GETNSID).header(new Uint8Array(headerSize));
  writer.u32(NETNSA_FD, namespaceFd);
  const [answer] = socket.request(writer, 'find id of network namespace');
  const id = answer && Attributes.read(answer.body.subarray(headerSize)).s32(NETNSA_NSID);
  return id === undefined || id < 0 ? undefined : id;
}
