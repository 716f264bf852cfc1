import { preflight } from '@heddle/agent/preflight';
import { objects, version } from '@heddle/assets';
import { ControlClient } from '@heddle/control';
import { exitCodes, Failure } from '@heddle/control/failure';
import { LinuxBpf } from '@heddle/ebpf';
import { nodePlatform } from '@heddle/sys/node';
import { collect } from './collect.ts';
import type { Dump } from './dump.ts';

/** The control socket and the folder of the pins. */
export interface NodePaths {
  readonly socket: string;
  /** Undefined: the agent's, or the default. */
  readonly bpffs?: string | undefined;
}

/**
 * Takes a dump of this node, with the details of all services if `withDetails` is set. Throws Failure,
 * SysError.
 */
export async function nodeDump(
  { socket, bpffs }: NodePaths,
  withDetails: boolean,
  onProgress?: (map: string, entries: number) => void,
): Promise<Dump> {
  const platform = nodePlatform();
  const missing = preflight(platform);
  if (missing !== undefined) throw new Failure(exitCodes.notPermitted, missing);
  const agent = await connect(socket);
  try {
    const bpf = new LinuxBpf(platform);
    return await collect({
      ...{ platform, bpf, bpffs, agent, objects, withDetails },
      version: version(),
      ...(onProgress ? { onProgress } : {}),
    });
  } finally {
    if (!('missing' in agent)) agent[Symbol.dispose]();
  }
}

/** Connects to the agent, or returns why it does not answer: a dump of the kernel is useful without it. */
async function connect(socket: string): Promise<ControlClient | { readonly missing: string }> {
  try {
    return await ControlClient.connect(socket);
  } catch (error) {
    if (error instanceof Failure && error.exitCode === exitCodes.unreachable) {
      return { missing: error.message };
    }
    throw error;
  }
}
