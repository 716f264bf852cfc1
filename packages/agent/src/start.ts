import { defaultNat, openDatapath, PinLock, pinRoot } from '@heddle/datapath';
import { type Bpf, LinuxBpf } from '@heddle/ebpf';
import { netnsCookie } from '@heddle/netlink';
import type { Platform } from '@heddle/sys';
import { Agent } from './agent.ts';
import { prepareBpffs } from './bpffs.ts';
import { chooseCgroup } from './cgroup.ts';
import { type Config, defaultHealthAddress, defaultMetricsAddress } from './config.ts';
import { raiseDescriptorLimit } from './descriptor-limit.ts';
import { allFeatures } from './features/index.ts';
import { guardedPlatform } from './guarded-platform.ts';
import { hostName } from './machine.ts';
import { parsePortRange } from './snat-ports.ts';
import { findAccess } from './source/cluster-access.ts';
import {
  type Demand,
  openClusterSource,
  openFolderSource,
  type Source,
  type SourceListener,
} from './source/index.ts';

export interface StartOptions {
  readonly platform: Platform;
  readonly config: Config;
  /** The process' environment variables: kubeconfig files and proxies depend on some. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The version of Heddle. */
  readonly version: string;
  /** Returns the bytes of a compiled object of BPF programs by name, e.g. `socket`. */
  readonly objects: (name: string) => Uint8Array;
  /** Returns the bytes of the CNI plug-in for an architecture. */
  readonly cniPlugin: (arch: Platform['arch']) => Uint8Array;
  /** The kernel's BPF interface, e.g. of a simulated platform. The default is the running kernel's. */
  readonly bpf?: Bpf;
}

/** The time that an agent may take to end. An agent that replaces it waits as long. */
const endMs = 5000;

/**
 * Starts the agent on this machine's kernel. The machine provides what the configuration leaves open: the host
 * name is the node's name, the cgroup2 mount has the cgroup, and the agent's environment names the cluster. Throws
 * ConfigError, KubeconfigError, PinsInUse, AgentRunning, SysError, VerifierError,
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
  const { tunnelPort, localCongestionControl, networkPolicy, visibility } = config;
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
    features: allFeatures,
    cniPlugin: () => options.cniPlugin(platform.arch),
    failures: () => failures,
    takePins() {
      prepareBpffs(platform, bpffs, { inPod: environment.KUBERNETES_SERVICE_HOST !== undefined });
      return new PinLock(platform, pinRoot(bpffs), endMs);
    },
    openDatapath() {
      const cookie = netnsCookie(platform);
      return openDatapath({
        ...{ platform, bpf, objects, bpffs, cgroup, sizes, options: choices, xdp },
        ...{ sourceRanges, socketLB: config.socketLB },
        ...(config.network && {
          network: { tunnelPort, localCongestionControl, policy: networkPolicy, visibility },
        }),
        netnsCookie: cookie,
        nat: { ...defaultNat, ports: parsePortRange(config.snatPorts)!, timeouts: config.timeouts },
      });
    },
    openSource: sourceOf({ ...options, platform }),
  });
}

/** Returns how to open the source that the configuration names. */
function sourceOf({
  platform,
  config,
  environment,
}: StartOptions): (listener: SourceListener, demand: Demand) => Source {
  const { manifests } = config;
  if (manifests !== undefined) {
    return ({ onChange }, { reader }) =>
      openFolderSource(platform, manifests, { reader, onChange });
  }
  // Precedes everything that is opened: without a cluster there is nothing to do.
  const access = findAccess(platform, environment, config);
  for (const warning of access.warnings) platform.log('warn', warning);
  return (listener, demand) => openClusterSource({ platform, access, demand, listener });
}
