import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Where kube-proxy says in which mode it is, by default. Nothing else answers there so. */
const modeAddress = 'http://127.0.0.1:10249/proxyMode';
const modes = new Set(['iptables', 'ipvs', 'nftables']);
const patienceMs = 2000;

/**
 * By what a kube-proxy that works on this network namespace shows: a process, or its metrics port
 * where it is part of another program (k3s) or its processes can't be seen; undefined when by
 * nothing.
 */
export async function runningKubeProxy(): Promise<string | undefined> {
  const process = kubeProxyProcess();
  if (process !== undefined) return `it is process ${process}`;
  let mode: string;
  try {
    const response = await fetch(modeAddress, { signal: AbortSignal.timeout(patienceMs) });
    mode = (await response.text()).trim();
  } catch {
    // Nobody listens, or somebody who speaks something else.
    return undefined;
  }
  return modes.has(mode) ? `it answers on ${modeAddress}: ${mode}` : undefined;
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
