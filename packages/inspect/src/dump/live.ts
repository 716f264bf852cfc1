import { preflight } from '@heddle/agent/preflight';
import { objects, version } from '@heddle/assets';
import { ControlClient } from '@heddle/control';
import { exitCodes, Failure } from '@heddle/control/failure';
import { LinuxBpf } from '@heddle/ebpf';
import { nodePlatform } from '@heddle/sys/node';
import { collect } from './collect.ts';
import type { Dump } from './dump.ts';

/** Where the agent and the pins are. */
export interface NodePlaces {
  readonly socket: string;
  /** Undefined: where the agent has them, or else at the usual place. */
  readonly bpffs?: string | undefined;
}

/**
 * A dump of the node that this runs on, with the details of all services if they are wanted. Throws
 * Failure, SysError.
 */
export async function nodeDump(
  { socket, bpffs }: NodePlaces,
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

/** The agent, or why it doesn't answer: what is in the kernel is of use without it, too. */
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
