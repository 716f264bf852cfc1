import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { get } from 'node:http';
import { listSockets, NETLINK_SOCK_DIAG, NetlinkSocket } from '@heddle/netlink';
import { formatEndpoint, parseIp } from '@heddle/sys';
import { nodePlatform } from '@heddle/sys/node';

/**
 * The responses of kube-proxy at /proxyMode of its metrics port. Heddle's agent responds `heddle`.
 */
const modes = new Set(['iptables', 'ipvs', 'nftables']);
const timeoutMs = 1000;
const requestsAtOnce = 32;
/** The limit on a response; a mode is one word. */
const longestAnswer = 64;

/**
 * Returns the evidence that a kube-proxy runs in this network namespace, or undefined: its process,
 * or its metrics port if it is part of another program (k3s) or its process can't be seen from
 * here, as in the DaemonSet's pod. The port can be any (`--metrics-bind-address`), so `/proxyMode`
 * is requested from each TCP listener of the namespace. Throws NetlinkError.
 */
export async function runningKubeProxy(): Promise<string | undefined> {
  const process = kubeProxyProcess();
  if (process !== undefined) return `it is process ${process}`;
  const addresses = listeners();
  for (let at = 0; at < addresses.length; at += requestsAtOnce) {
    const found = await Promise.all(addresses.slice(at, at + requestsAtOnce).map(proxyMode));
    const answer = found.find((each) => each !== undefined);
    if (answer !== undefined) return answer;
  }
  return undefined;
}

function kubeProxyProcess(): number | undefined {
  const own = readlinkSync('/proc/self/ns/net');
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (readFileSync(`/proc/${name}/comm`, 'utf8') !== 'kube-proxy\n') continue;
      if (readlinkSync(`/proc/${name}/ns/net`) === own) return Number(name);
    } catch (error) {
      // The process has ended meanwhile.
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT' && code !== 'ESRCH') throw error;
    }
  }
  return undefined;
}

/** Returns the `address:port` of each TCP listener of this network namespace; kube-proxy's default port comes first. */
function listeners(): string[] {
  using diag = new NetlinkSocket(nodePlatform(), NETLINK_SOCK_DIAG);
  const found = new Set(['127.0.0.1:10249']);
  for (const { source, sourcePort } of listSockets(diag, { protocol: 'tcp', states: ['listen'] })) {
    const bytes = parseIp(source);
    if (!bytes) continue;
    const isUnspecified = source === '0.0.0.0' || source === '::';
    const loopback = source === '::' ? '::1' : '127.0.0.1';
    found.add(formatEndpoint(isUnspecified ? loopback : source, sourcePort));
  }
  return [...found];
}

function proxyMode(address: string): Promise<string | undefined> {
  const url = `http://${address}/proxyMode`;
  return new Promise((resolve) => {
    const request = get(url, { agent: false, timeout: timeoutMs }, (response) => {
      let text = '';
      response.setEncoding('latin1');
      response.on('data', (chunk: string) => {
        text += chunk;
        if (text.length > longestAnswer) request.destroy();
      });
      response.on('close', () => {
        const mode = text.trim();
        resolve(modes.has(mode) ? `it responds at ${url}: ${mode}` : undefined);
      });
    });
    // A listener that does not speak HTTP, or never responds, is no kube-proxy.
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(undefined));
    setTimeout(() => request.destroy(), 2 * timeoutMs).unref();
  });
}
