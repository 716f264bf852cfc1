import type { NetlinkSocket } from './socket.ts';
import { Attributes, MessageWriter } from './wire.ts';

// linux/rtnetlink.h and linux/net_namespace.h
const RTM_GETNSID = 90;
const NETNSA_NSID = 1;
const NETNSA_FD = 3;
/** struct rtgenmsg: one byte, padded to four. */
const headerSize = 4;

/**
 * The id by which the namespace of `socket` knows the network namespace that `namespaceFd` is open on: the
 * value that a link's `peerNamespaceId` has (RTM_GETNSID, Linux 4.0). Undefined when it has none, which is so
 * until a link between the two was listed. Throws NetlinkError.
 */
export function namespaceId(socket: NetlinkSocket, namespaceFd: number): number | undefined {
  const writer = new MessageWriter(RTM_GETNSID).header(new Uint8Array(headerSize));
  writer.u32(NETNSA_FD, namespaceFd);
  const [answer] = socket.request(writer, 'find id of network namespace');
  const id = answer && Attributes.read(answer.body.subarray(headerSize)).s32(NETNSA_NSID);
  return id === undefined || id < 0 ? undefined : id;
}
