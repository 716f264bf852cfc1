import { defaultNat, openDatapath } from '@heddle/datapath';
import { type Bpf, LinuxBpf } from '@heddle/ebpf';
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
  /** Of Heddle. */
  readonly version: string;
  /** Bytes of a compiled object of the kernel half by name, e.g. `socket`. */
  readonly objects: (name: string) => Uint8Array;
  /** In place of the running kernel's: a simulated one, with its platform. */
  readonly bpf?: Bpf;
}

/**
 * Starts the agent on this machine's kernel. What the configuration leaves open is taken from the
 * machine: the node's name from the host, the cgroup from the cgroup2 mount. Throws
 * AlreadyListening, SysError, VerifierError, NotSupported, or Error without a cgroup2 mount.
 */
export function startAgent({
  platform,
  config,
  version,
  objects,
  bpf = new LinuxBpf(platform),
}: StartOptions): Agent {
  const node = config.node ?? hostName(platform);
  const cgroup = config.cgroup ?? cgroupRoot(platform);
  if (cgroup === undefined) {
    throw new Error('find cgroup: no cgroup2 file system is mounted (mount one, or give --cgroup)');
  }
  const { bpffs, sizes, options } = config;
  return new Agent({
    platform,
    config: { ...config, node, cgroup },
    version,
    openDatapath() {
      prepareBpffs(platform, bpffs);
      const cookie = netnsCookie(platform);
      return openDatapath({
        ...{ platform, bpf, objects, bpffs, cgroup, sizes, options },
        netnsCookie: cookie,
        nat: defaultNat,
      });
    },
    openSource: (onChange) => openFolderSource(platform, config.manifests, { onChange }),
  });
}
