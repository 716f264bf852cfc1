import { cidrContains, encodeUtf8, type IpBytes, isIpv4, parseCidr, parseIp } from '@heddle/sys';
import { encodeBase64 } from './base64.ts';
import { KubeconfigError } from './errors.ts';
import { parseServer, type Server } from './server.ts';

/** The environment of the process. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A proxy for tunnels (CONNECT). */
export interface ProxyServer {
  readonly server: Server;
  /** The value of Proxy-Authorization. */
  readonly authorization?: string;
}

/** Reads a proxy's URL, `http://user:password@host:port`. Returns the problem of another text. */
export function parseProxy(url: string): ProxyServer | string {
  const match = /^(?:([a-z\d+.-]+):\/\/)?(?:([^@/]*)@)?([^@]*)$/i.exec(url);
  if (!match) return 'it must read http://host:port';
  const [, scheme = 'http', user, rest] = match;
  if (!/^https?$/i.test(scheme)) return `proxies with ${scheme}:// are not supported`;
  const server = parseServer(`${scheme}://${rest}`);
  if (typeof server === 'string') return server;
  if (user === undefined) return { server };
  const decoded = decodePercent(user);
  if (decoded === undefined) return 'its user and password must be percent-encoded';
  const credentials = decoded.includes(':') ? decoded : `${decoded}:`;
  return { server, authorization: `Basic ${encodeBase64(encodeUtf8(credentials))}` };
}

function decodePercent(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/**
 * Returns the URL of the proxy that the environment names for `server`: HTTPS_PROXY or HTTP_PROXY, unless
 * NO_PROXY excludes it, each also in lower case. The meaning is that in kubectl and other Go programs
 * (golang.org/x/net/http/httpproxy): loopback addresses have no proxy; NO_PROXY has names (with all
 * subdomains), `.names` and `*.names` (only subdomains), IP addresses and ranges, all but ranges with an
 * optional `:port`, or `*`.
 */
export function proxyFromEnvironment(environment: Environment, server: Server): string | undefined {
  const value = (name: string) => environment[name] || environment[name.toLowerCase()];
  const url = value(server.isTls ? 'HTTPS_PROXY' : 'HTTP_PROXY');
  if (!url) return undefined;
  const host = server.host.toLowerCase();
  const address = parseIp(host);
  if (host === 'localhost' || (address && isLoopback(address))) return undefined;
  for (const entry of (value('NO_PROXY') ?? '').toLowerCase().split(',')) {
    if (excepts(entry.trim(), host, address, String(server.port))) return undefined;
  }
  return url;
}

/** Returns the proxy that the environment names for `server`. Throws KubeconfigError for a malformed URL. */
export function environmentProxy(
  environment: Environment,
  server: Server,
): ProxyServer | undefined {
  const url = proxyFromEnvironment(environment, server);
  if (url === undefined) return undefined;
  const proxy = parseProxy(url);
  if (typeof proxy !== 'string') return proxy;
  const name = server.isTls ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  // The message does not have the URL, which may have a password.
  throw new KubeconfigError(
    `use the proxy of ${name}: ${proxy} (${server.host} in NO_PROXY avoids it)`,
  );
}

function isLoopback(address: IpBytes): boolean {
  if (isIpv4(address)) return address[12] === 127;
  return address.every((byte, i) => byte === (i === 15 ? 1 : 0));
}

function excepts(entry: string, host: string, address: IpBytes | undefined, port: string): boolean {
  if (entry === '*') return true;
  if (entry.includes('/')) {
    const range = parseCidr(entry);
    return address !== undefined && range !== undefined && cidrContains(range, address);
  }
  const { name, onlyPort } = splitPort(entry);
  if (name === '' || (onlyPort !== undefined && onlyPort !== port)) return false;
  const entryAddress = parseIp(name);
  if (entryAddress) return address?.every((byte, i) => byte === entryAddress[i]) === true;
  if (name.startsWith('*.')) return host.endsWith(name.slice(1));
  if (name.startsWith('.')) return host.endsWith(name);
  return host === name || host.endsWith(`.${name}`);
}

/** Splits `host:port` and `[v6]:port`. An IPv6 address without brackets has no port. */
function splitPort(entry: string): { name: string; onlyPort?: string } {
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d*))?$/.exec(entry);
  if (!match) return { name: entry };
  const name = match[1] ?? match[2]!;
  return match[3] ? { name, onlyPort: match[3] } : { name };
}
