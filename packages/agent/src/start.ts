import { defaultNat, openDatapath, PinLock, pinRoot } from '@heddle/datapath';
import { type Bpf, LinuxBpf } from '@heddle/ebpf';
import { netnsCookie } from '@heddle/netlink';
import type { Platform } from '@heddle/sys';
import { Agent } from './agent.ts';
import { prepareBpffs } from './bpffs.ts';
import { chooseCgroup } from './cgroup.ts';
import { type Config, defaultHealthAddress, defaultMetricsAddress } from './config.ts';
import { raiseDescriptorLimit } from './descriptor-limit.ts';
import { guardedPlatform } from './guarded-platform.ts';
import { hostName } from './machine.ts';
import { parsePortRange } from './snat-ports.ts';
import { findAccess } from './source/cluster-access.ts';
import {
  openClusterSource,
  openFolderSource,
  type Source,
  type SourceListener,
} from './source/index.ts';

export interface StartOptions {
  readonly platform: Platform;
  readonly config: Config;
  /** The process' environment variables, for what a kubeconfig and proxies depend on. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Of Heddle. */
  readonly version: string;
  /** Bytes of a compiled object of the kernel half by name, e.g. `socket`. */
  readonly objects: (name: string) => Uint8Array;
  /** In place of the running kernel's: a simulated one, with its platform. */
  readonly bpf?: Bpf;
}

/** The time that an agent may take to end; the agent that replaces it waits so long. */
const endMs = 5000;

/**
 * Starts the agent on this machine's kernel. What the configuration leaves open is taken from the
 * machine: the node's name from the host, the cgroup from the cgroup2 mount, the cluster from where
 * the agent runs. Throws ConfigError, KubeconfigError, PinsInUse, AgentRunning, SysError, VerifierError,
 * NotSupported.
 */
export function startAgent(options: StartOptions): Agent {
  const { config, environment, version, objects } = options;
  let failures = 0;
  const platform = guardedPlatform(options.platform, () => failures++);
  const bpf = options.bpf ?? new LinuxBpf(platform);
  // A simulated kernel has no limits.
  if (!options.bpf) raiseDescriptorLimit(platform);
  const node = config.node ?? hostName(platform);
  const cgroup = chooseCgroup(platform, config.cgroup);
  const { bpffs, sizes, options: choices, manifests, xdp, sourceRanges } = config;
  const isCluster = manifests === undefined;
  return new Agent({
    platform,
    config: {
      ...config,
      ...{ node, cgroup },
      healthAddress: config.healthAddress ?? (isCluster ? defaultHealthAddress : 'off'),
      metricsAddress: config.metricsAddress ?? (isCluster ? defaultMetricsAddress : 'off'),
    },
    version,
    failures: () => failures,
    takePins() {
      prepareBpffs(platform, bpffs, { inPod: environment.KUBERNETES_SERVICE_HOST !== undefined });
      return new PinLock(platform, pinRoot(bpffs), endMs);
    },
    openDatapath() {
      const cookie = netnsCookie(platform);
      return openDatapath({
        ...{ platform, bpf, objects, bpffs, cgroup, sizes, options: choices, xdp },
        sourceRanges,
        netnsCookie: cookie,
        nat: { ...defaultNat, ports: parsePortRange(config.snatPorts)!, timeouts: config.timeouts },
      });
    },
    openSource: sourceOf({ ...options, platform }, node),
  });
}

/** Where the configuration says that objects come from. */
function sourceOf(
  { platform, config, environment }: StartOptions,
  node: string,
): (listener: SourceListener) => Source {
  const { manifests } = config;
  if (manifests !== undefined) return (listener) => openFolderSource(platform, manifests, listener);
  // Before anything is opened: without a cluster there is nothing to do.
  const access = findAccess(platform, environment, config);
  for (const warning of access.warnings) platform.log('warn', warning);
  return (listener) =>
    openClusterSource({
      ...{ platform, access, node, listener },
      allNodes: config.forwarding !== 'snat',
    });
}
