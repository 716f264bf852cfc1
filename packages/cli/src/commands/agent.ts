import { readFileSync } from 'node:fs';
import { type ConfigFlags, readConfig } from '@heddle/agent/config';
import { objects, version } from '@heddle/assets';
import { Failure } from '@heddle/control/failure';
import { preflight } from '@heddle/control/preflight';
import { nodePlatform } from '@heddle/sys/node';
import { keepProcessSmall, releaseMemoryWhenIdle } from '@heddle/sys/node/memory';
import { logSink } from '../log.ts';

interface Options {
  readonly manifests?: string;
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly apiServer?: readonly string[];
  readonly healthAddress?: string;
  readonly metricsAddress?: string;
  readonly node?: string;
  readonly cgroup?: string;
  readonly bpffs?: string;
  readonly socket?: string;
  readonly config?: string;
  readonly logLevel?: string;
  readonly maxServices?: number;
  readonly maxBackends?: number;
  readonly maxSlots?: number;
  readonly devices?: string;
  readonly xdp?: string;
  readonly forwarding?: string;
  readonly nodeportAddresses?: readonly string[];
  readonly sourceRanges?: string;
  readonly externalIps?: string;
  readonly podDevices?: string;
  readonly maxAffinity?: number;
  readonly maxFlows?: number;
  readonly terminateTcp?: true;
}

/** `heddle agent`: runs until SIGTERM or SIGINT; what is in force then stays in force. */
export async function agent(options: Options): Promise<void> {
  keepProcessSmall();
  const path = options.config;
  const file = path === undefined ? undefined : { path, text: readFileSync(path, 'utf8') };
  const config = readConfig(file, flagsOf(options));
  const missing = preflight();
  if (missing) throw new Failure(missing.exitCode, missing.message);

  const platform = nodePlatform(logSink(config.logLevel));
  const { startAgent } = await import('@heddle/agent');
  const running = startAgent({
    ...{ platform, config, objects },
    environment: process.env,
    version: version(),
  });
  releaseMemoryWhenIdle();
  const stop = () => {
    try {
      running[Symbol.dispose]();
    } catch (error) {
      platform.log('warn', `end the agent: ${(error as Error).message}`);
    }
    // What others may still hold open, e.g. stdin, is no reason to stay.
    process.exit();
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
}

function flagsOf(options: Options): ConfigFlags {
  return {
    manifests: options.manifests,
    kubeconfig: options.kubeconfig,
    context: options.context,
    apiServers: options.apiServer,
    healthAddress: options.healthAddress,
    metricsAddress: options.metricsAddress,
    node: options.node,
    cgroup: options.cgroup,
    bpffs: options.bpffs,
    socket: options.socket,
    logLevel: options.logLevel,
    'sizes.services': options.maxServices,
    'sizes.backends': options.maxBackends,
    'sizes.slots': options.maxSlots,
    'sizes.affinity': options.maxAffinity,
    'sizes.flows': options.maxFlows,
    devices: options.devices,
    xdp: options.xdp,
    forwarding: options.forwarding,
    nodePortAddresses: options.nodeportAddresses,
    sourceRanges: options.sourceRanges,
    externalIPs: options.externalIps,
    podDevices: options.podDevices,
    'options.terminateTcp': options.terminateTcp,
  };
}
