import { formatIp, parseIp } from '@heddle/sys';
import type { TunnelKey } from '@heddle/vm';

/** A tunnel between two nodes. */
export interface Tunnel {
  /** The address of the other end: where the packet is sent, or has come from. */
  readonly to: string;
  /** The number of the virtual network. */
  readonly id: number;
}

/** Offset in struct bpf_tunnel_key, and its size. */
const REMOTE = 4;
const KEY = 44;
/** The first byte of an IPv4 address among 16 bytes. */
const IPV4 = 12;

/** Returns the tunnel of a key that a program has set. */
export function tunnelOf({ bytes, isIpv6 }: TunnelKey): Tunnel {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const id = view.getUint32(0, true);
  if (isIpv6) return { to: formatIp(bytes.slice(REMOTE, REMOTE + 16)), id };
  const address = new Uint8Array(16).fill(0xff, 10, IPV4);
  // The key has IPv4 addresses in host order.
  new DataView(address.buffer).setUint32(IPV4, view.getUint32(REMOTE, true));
  return { to: formatIp(address), id };
}

/** Returns the key of a packet that has come through a tunnel. */
export function tunnelKeyOf({ to, id }: Tunnel): TunnelKey {
  const bytes = new Uint8Array(KEY);
  const view = new DataView(bytes.buffer);
  const address = parseIp(to)!;
  const isIpv6 = to.includes(':');
  view.setUint32(0, id, true);
  if (isIpv6) bytes.set(address, REMOTE);
  else
    view.setUint32(REMOTE, new DataView(address.buffer, address.byteOffset).getUint32(IPV4), true);
  return { bytes, isIpv6 };
}
