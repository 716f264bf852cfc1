import { type IpBytes, isIpv4, parseIp } from '@heddle/sys';

/** Where a TCP server listens. */
export interface ListenAddress {
  /** Absent: all addresses of both families. */
  readonly address?: IpBytes;
  /** Host order; 0: one that the kernel chooses. */
  readonly port: number;
}

/** Reads `127.0.0.1:10249`, `[::1]:10249` or `:10256` (all addresses); undefined when malformed. */
export function parseListenAddress(text: string): ListenAddress | undefined {
  const [, host, digits] = /^(\[[^\]]*\]|[^:[\]]*):(\d{1,5})$/.exec(text) ?? [];
  if (host === undefined || Number(digits) > 65535) return undefined;
  const port = Number(digits);
  if (host === '') return { port };
  const isBracketed = host.startsWith('[');
  const address = parseIp(isBracketed ? host.slice(1, -1) : host);
  if (!address || isIpv4(address) === isBracketed) return undefined;
  // `[::]` takes IPv4 too, as it does for Go's programs, whose configuration people bring along.
  return isBracketed && address.every((byte) => byte === 0) ? { port } : { address, port };
}
