import type { Check, Result } from '../check.ts';
import type { AgentFacts } from '../facts.ts';

/** The settings by which maps grow, by the name of the map. */
const sizeSettings: Readonly<Record<string, string>> = {
  services: 'sizes.servicesMax',
  backends: 'sizes.backends',
  slots: 'sizes.slots',
  affinity: 'sizes.affinity',
  nat_index: 'sizes.flows',
  nat_flows: 'sizes.flows',
};
/** Full for these maps is normal: the least recently used entry goes first. */
const evicting: ReadonlySet<string> = new Set(['affinity']);
const wrongFrom = 0.8;
const improveFrom = 0.5;

function judgeMap({ name, entries, maxEntries }: AgentFacts['maps'][number]): Result | undefined {
  const share = maxEntries === 0 ? 0 : entries / maxEntries;
  const setting = sizeSettings[name];
  if (share < improveFrom || (setting === undefined && share < wrongFrom)) return undefined;
  const found = `${entries} of ${maxEntries} entries (${Math.floor(share * 100)} %)`;
  const state = share >= wrongFrom && !evicting.has(name) ? 'wrong' : 'improve';
  if (setting === undefined) {
    return { subject: name, state, found, recommended: 'fewer entries; its size is fixed' };
  }
  const size = 2 ** Math.ceil(Math.log2(entries * 2));
  return {
    ...{ subject: name, state, found },
    recommended: `${setting}: ${size}, twice what is used now`,
    command: `heddle manifests --set ${setting}=${size} | kubectl apply -f -`,
  };
}

export const mapSizes: Check = {
  name: 'map-sizes',
  about: 'entries of the kernel maps against their sizes',
  advice: 'twice the entries that are in use',
  reason:
    'a full map refuses what is new: a service stays without a row, a connection from outside the cluster is dropped; a restart with a larger size keeps all connections',
  risk: 'memory of the kernel: 136 bytes for each flow, less for the others',
  applies: 'no',
  examine({ agent }) {
    if ('unknown' in agent) return [{ state: 'unknown', found: agent.unknown }];
    const found = agent.value.maps.flatMap((map) => judgeMap(map) ?? []);
    if (found.length > 0) return found;
    return [{ state: 'good', found: `${agent.value.maps.length} maps, none is half full` }];
  },
};

/** Descriptors for each health check port, server and client, with room. */
const enoughDescriptors = 4096;

export const descriptors: Check = {
  name: 'descriptors',
  about: 'the limits of open files and of locked memory of the agent',
  advice: `${enoughDescriptors} open files; locked memory needs no limit`,
  reason:
    'each health check port takes two descriptors; from Linux 5.11 on BPF maps count as memory of the cgroup and not as locked memory, so that RLIMIT_MEMLOCK has no effect',
  risk: 'none',
  applies: 'no',
  examine({ agent }) {
    if ('unknown' in agent) return [{ state: 'unknown', found: agent.unknown }];
    const { descriptors: limit } = agent.value;
    if ('unknown' in limit) return [{ state: 'unknown', found: limit.unknown }];
    const found = `the agent may open ${limit.value} files`;
    if (limit.value >= enoughDescriptors) return [{ state: 'good', found }];
    return [
      {
        ...{ state: 'improve', found, recommended: `${enoughDescriptors} or more` },
        command: `LimitNOFILE=${enoughDescriptors} in the unit of the container runtime or the agent, then restart it`,
      },
    ];
  },
};
