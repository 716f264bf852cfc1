import { type AgentStatus, type EffectiveConfig, findNodeDevices } from '@heddle/agent';
import { NetworkNamespace } from '@heddle/netlink';
import { type Platform, readLink } from '@heddle/sys';
import { type AgentFacts, type Facts, type Known, valueIfKnown } from '../facts.ts';
import { readDevices } from './devices.ts';
import { known, readText } from './files.ts';
import { readLeftovers } from './leftovers.ts';
import { readSysctls } from './sysctls.ts';
import { readKernel, readProcessors, readPrograms } from './system.ts';

/** The answers of the agent. */
export interface AgentAnswers {
  readonly status: AgentStatus;
  readonly config: EffectiveConfig;
}

const ownNamespace = '/proc/thread-self/ns/net';

/**
 * Runs `work` in the network namespace of the agent. Throws Error if that is neither this process's nor
 * that of a process with the agent's number.
 */
export function inAgentNamespace<Result>(
  platform: Platform,
  answers: AgentAnswers | undefined,
  work: () => Result,
): Result {
  const wanted = answers?.status.networkNamespace;
  if (wanted === undefined || readLink(platform, ownNamespace) === wanted) return work();
  const path = `/proc/${answers!.status.pid}/ns/net`;
  const there = known(() => readLink(platform, path));
  if (valueIfKnown(there) !== wanted) {
    throw new Error(
      `read the node: the agent is in another network namespace (${wanted}); run this where the agent runs`,
    );
  }
  using namespace = NetworkNamespace.open(platform, path);
  return namespace.enter(work);
}

/** Reads what the checks look at, in the network namespace of the thread. Throws SysError. */
export function readFacts(platform: Platform, answers: Known<AgentAnswers>): Facts {
  const config = valueIfKnown(answers)?.config;
  const view = known(() =>
    findNodeDevices(platform, {
      devices: config?.devices ?? 'auto',
      podDevices: config?.podDevices ?? 'none',
    }),
  );
  const external = valueIfKnown(view)?.devices.filter(({ pods }) => !pods) ?? [];
  const devices: Facts['devices'] =
    'unknown' in view
      ? view
      : known(() =>
          readDevices(
            platform,
            external.map(({ name }) => name),
          ),
        );
  const ipv6: Facts['ipv6'] =
    'unknown' in view
      ? view
      : { value: view.value.addresses.some((address) => address.includes(':')) };
  const names = (valueIfKnown(devices) ?? []).map(({ name }) => name);
  return {
    agent: 'value' in answers ? { value: agentFacts(platform, answers.value) } : answers,
    kernel: known(() => readKernel(platform)),
    processors: readProcessors(platform),
    programs: readPrograms(platform),
    devices,
    ipv6,
    leftovers: readLeftovers(platform),
    sysctls: readSysctls(platform, names),
  };
}

function agentFacts(platform: Platform, { status, config }: AgentAnswers): AgentFacts {
  const { maps, tracked } = status.datapath;
  return { maps, tracked, config, descriptors: known(() => readLimit(platform, status)) };
}

/** Returns the limit of open files of the agent. Throws Error where its process is not visible. */
function readLimit(platform: Platform, { pid, networkNamespace }: AgentStatus): number {
  const isAgent = known(() => readLink(platform, `/proc/${pid}/ns/net`) === networkNamespace);
  if (valueIfKnown(isAgent) !== true)
    throw new Error('the process of the agent is not visible here');
  const limits = readText(platform, `/proc/${pid}/limits`);
  const found = /^Max open files\s+(\d+|unlimited)/m.exec(limits)?.[1];
  if (found === undefined) throw new Error(`/proc/${pid}/limits has another form`);
  return found === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(found);
}
