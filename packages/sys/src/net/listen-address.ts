import { formatIp, isIpv4, parseIp } from '../ip.ts';

/** The address that a TCP server listens on. */
export interface ListenAddress {
  /** IP address as `formatIp` writes it. If absent, the server listens on all addresses of both families. */
  readonly address?: string;
  /** Host byte order; 0 lets the kernel choose a port. */
  readonly port: number;
}

/**
 * Reads `127.0.0.1:10249`, `[::1]:10249` or `:10256` (all addresses). Returns undefined for
 * malformed text.
 */
export function parseListenAddress(text: string): ListenAddress | undefined {
  const [, host, digits] = /^(\[[^\]]*\]|[^:[\]]*):(\d{1,5})$/.exec(text) ?? [];
  if (host === undefined || Number(digits) > 65535) return undefined;
  const port = Number(digits);
  if (host === '') return { port };
  const isBracketed = host.startsWith('[');
  const ip = parseIp(isBracketed ? host.slice(1, -1) : host);
  if (!ip || isIpv4(ip) === isBracketed) return undefined;
  // `[::]` includes IPv4, as it does for Go programs, whose configuration people bring along.
  return isBracketed && ip.every((byte) => byte === 0) ? { port } : { address: formatIp(ip), port };
}
