import { formatEndpoint, formatIp, isIpv4, parseIp } from '@heddle/sys';
import { AF_INET, AF_INET6 } from './socket-constants.ts';

/** An address and a port of a socket. An IPv4 address in an IPv6 socket reads `::ffff:a.b.c.d`. */
export interface Endpoint {
  readonly address: string;
  /** In host order. */
  readonly port: number;
}

/** Reads `10.0.0.1:80` or `[fd00::1]:80`. Throws RangeError. */
export function readEndpoint(text: string): Endpoint {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const address = match?.[1] ?? match?.[2] ?? '';
  if (!match || !parseIp(address) || Number(match[3]) > 65535) {
    throw new RangeError(`read endpoint ${text}: not as 10.0.0.1:80 or [fd00::1]:80`);
  }
  return { address, port: Number(match[3]) };
}

export function endpointText({ address, port }: Endpoint): string {
  return formatEndpoint(address, port);
}

/** struct sockaddr_in or sockaddr_in6 (linux/in.h, linux/in6.h). Throws RangeError. */
export function encodeSockaddr({ address, port }: Endpoint): Uint8Array {
  const ip = parseIp(address);
  if (!ip) throw new RangeError(`read address ${address}: not an IPv4 or IPv6 address`);
  const isV6 = address.includes(':');
  const bytes = new Uint8Array(isV6 ? 28 : 16);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, isV6 ? AF_INET6 : AF_INET, true);
  view.setUint16(2, port, false);
  if (isV6) bytes.set(ip, 8);
  else bytes.set(ip.subarray(12), 4);
  return bytes;
}

/** Reads what the kernel wrote. Throws RangeError for other families. */
export function decodeSockaddr(bytes: Uint8Array): Endpoint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const family = view.getUint16(0, true);
  const port = view.getUint16(2, false);
  if (family === AF_INET) return { address: bytes.subarray(4, 8).join('.'), port };
  if (family !== AF_INET6) throw new RangeError(`read socket address: family ${family}`);
  const ip = bytes.slice(8, 24);
  return { address: isIpv4(ip) ? `::ffff:${formatIp(ip)}` : formatIp(ip), port };
}
