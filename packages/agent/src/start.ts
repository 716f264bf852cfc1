import { openDatapath } from '@heddle/datapath';
import { LinuxBpf } from '@heddle/ebpf';
import { netnsCookie } from '@heddle/netlink';
import type { Platform } from '@heddle/sys';
import { Agent } from './agent.ts';
import { prepareBpffs } from './bpffs.ts';
import type { Config } from './config.ts';
import { cgroupRoot, hostName } from './machine.ts';
import { openFolderSource } from './source/index.ts';

export interface StartOptions {
  readonly platform: Platform;
  readonly config: Config;
  /** The process' environment variables, for what a kubeconfig and proxies depend on. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Of Heddle. */
  readonly version: string;
  /** Bytes of a compiled object of the kernel half by name, e.g. `socket`. */
  readonly objects: (name: string) => Uint8Array;
}

/**
 * Starts the agent on this machine's kernel. What the configuration leaves open is taken from the
 * machine: the node's name from the host, the cgroup from the cgroup2 mount. Throws
 * AlreadyListening, SysError, VerifierError, NotSupported, or Error without a cgroup2 mount.
 */
export function startAgent({ platform, config, version, objects }: StartOptions): Agent {
  const node = config.node ?? hostName(platform);
  const cgroup = config.cgroup ?? cgroupRoot(platform);
  if (cgroup === undefined) {
    throw new Error('find cgroup: no cgroup2 file system is mounted (mount one, or give --cgroup)');
  }
  const { bpffs, sizes, options } = config;
  return new Agent({
    platform,
    config: { ...config, node, cgroup, healthAddress: 'off', metricsAddress: 'off' },
    version,
    openDatapath() {
      prepareBpffs(platform, bpffs);
      const bpf = new LinuxBpf(platform);
      const cookie = netnsCookie(platform);
      return openDatapath({
        ...{ platform, bpf, objects, bpffs, cgroup, sizes, options },
        netnsCookie: cookie,
      });
    },
    openSource: (listener) => openFolderSource(platform, config.manifests!, listener),
  });
}
