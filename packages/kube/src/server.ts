import { formatEndpoint, parseIp } from '@heddle/sys';

/** The parts of the URL of an API server or a proxy. */
export interface Server {
  /** A name, or an IP address (IPv6 without brackets). */
  readonly host: string;
  readonly port: number;
  /** False: plain HTTP. */
  readonly isTls: boolean;
  /** The path before `/api`: empty, or `/prefix`. */
  readonly path: string;
  /** The name in its certificate, if it is not `host`. */
  readonly serverName?: string;
}

/** Reads `https://host:port/prefix`. Returns the problem of another text. */
export function parseServer(url: string): Server | string {
  const match = /^(https?):\/\/(\[[^\]/]*\]|[^:/?#[\]]*)(?::(\d{1,5}))?(\/[^?#]*)?$/i.exec(url);
  if (!match) return 'it must read https://host:port';
  const [, scheme, name, port, path = ''] = match;
  if (name!.includes('@')) return 'it must have no user and password';
  const isTls = scheme!.toLowerCase() === 'https';
  const host = name!.startsWith('[') ? name!.slice(1, -1) : name!;
  if (name!.startsWith('[') ? !host.includes(':') || !parseIp(host) : !isHostName(host)) {
    return `${name === '' ? 'its host' : name} is neither a name nor an IP address`;
  }
  const number = port === undefined ? (isTls ? 443 : 80) : Number(port);
  if (number < 1 || number > 65535) return `${port} is not a port`;
  // The path becomes a part of the request line.
  if (!/^[!-~]*$/.test(path)) return 'its path must be ASCII without spaces';
  return { host, port: number, isTls, path: withoutSlashes(path) };
}

/** Returns a path without slashes at its end. */
function withoutSlashes(path: string): string {
  let end = path.length;
  while (path[end - 1] === '/') end--;
  return path.slice(0, end);
}

function isHostName(text: string): boolean {
  return /^[\dA-Za-z_-]+(\.[\dA-Za-z_-]+)*\.?$/.test(text);
}

/** Returns `https://[fd00::1]:6443/prefix`. */
export function formatServer({ isTls, host, port, path }: Server): string {
  return `${isTls ? 'https' : 'http'}://${formatEndpoint(host, port)}${path}`;
}
