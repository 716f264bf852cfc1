import { release } from 'node:os';
import {
  type AgentStatus,
  defaultBpffs,
  type EffectiveConfig,
  type ServiceDetail,
} from '@heddle/agent';
import type { ControlSource } from '@heddle/control';
import { exitCodes, Failure } from '@heddle/control/failure';
import { currentPins, externalInterfaces, isMapName, mapCatalog } from '@heddle/datapath';
import { type Bpf, BpfLink, BpfMap, mapTypes, type ProgramInfo, readObject } from '@heddle/ebpf';
import { readProgramInfo } from '@heddle/ebpf/internal';
import {
  listAddresses,
  listLinks,
  listNeighbours,
  listRoutes,
  NetlinkSocket,
} from '@heddle/netlink';
import { decodeUtf8, type Platform, pathExists, readDirectory, readFile } from '@heddle/sys';
import {
  type Answers,
  type Dump,
  type DumpedLink,
  type DumpedMap,
  type DumpedNetwork,
  elementsOf,
  listOf,
} from './dump.ts';
import { readFilters } from './filters.ts';
import { dumpedLists } from './lists.ts';
import { inNamespaces } from './namespaces.ts';
import { objectTags } from './tags.ts';

/** The most entries of one map in a dump. */
const maxEntriesOfMap = 4_000_000;
/** The size of a buffer of entries, in bytes. */
const chunkBytes = 256 * 1024;

/** Requests that are sent before the first reply is awaited. */
const requestsAtOnce = 100;

/** Map types whose content userspace can't read: per-socket values, and records in flight. */
const unreadable: ReadonlySet<number> = new Set([mapTypes.sk_storage, mapTypes.ringbuf]);
const arrays: ReadonlySet<number> = new Set([mapTypes.array, mapTypes.percpu_array]);

export interface CollectOptions {
  readonly platform: Platform;
  readonly bpf: Bpf;
  /** The folder of the pins. If undefined, it is the agent's, or the default. */
  readonly bpffs: string | undefined;
  /** The agent, or why no agent answers. */
  readonly agent: ControlSource | { readonly missing: string };
  readonly objects: (name: string) => Uint8Array;
  readonly version: string;
  /** True to read the details of all services, with one request for each. */
  readonly withDetails: boolean;
  /** Called while maps are read. */
  readonly onProgress?: (map: string, entries: number) => void;
}

/** Reads a node into a dump. Changes nothing. Throws SysError, Failure. */
export async function collect(options: CollectOptions): Promise<Dump> {
  const { platform, bpf, agent } = options;
  const answers = 'missing' in agent ? agent : await ask(agent, options.withDetails);
  const bpffs = findPins(platform, options.bpffs, answers);
  const pins = currentPins(bpffs);
  const { programs, links } = readLinks(bpf, platform, pins.links);
  const maps = readMaps(options, pins.maps, programs.values());
  const constants = [...programs.values()].find(({ name }) => name === 'connect4');
  const cookie = nodeCookie(constants?.mapIds.flatMap((id) => maps.get(id) ?? []) ?? []);
  const cgroup = links.flatMap(({ info }) => (info.kind === 'cgroup' ? [info.cgroupId] : []))[0];
  const { namespaces, node } = inNamespaces(platform, () => readNetwork(platform, maps), {
    ...{ cgroup, cookie },
    external: externalInterfaces(elementsOf({ maps }, 'node_devices')),
    known: 'missing' in answers ? undefined : answers,
  });
  const filters = (node?.filters ?? []).map(({ programId }) => programId);
  readPrograms(bpf, filters, programs);
  readConstants(bpf, programs.values(), maps);
  const objects = new Map(
    ['socket', 'node', 'xdp', 'pod'].map((name) => [name, Uint8Array.from(options.objects(name))]),
  );
  return {
    head: {
      created: new Date(platform.wallTimeMs()).toISOString(),
      monotonicNs: platform.monotonicNs(),
      heddle: options.version,
      kernel: release(),
      arch: platform.arch,
      cpus: bpf.possibleCpus,
      bpffs,
    },
    answers,
    objects,
    tags: new Map(
      Array.from(objects, ([name, bytes]) => [name, objectTags(platform, readObject(bytes))]),
    ),
    maps,
    programs,
    links,
    namespaces,
    ...(node === undefined ? {} : { network: node }),
  };
}

/**
 * Returns the BPF file system with Heddle's pins. Its path in the agent's pod may differ from the one here: the
 * pod mounts the node's `/sys/fs/bpf` elsewhere. Throws Failure.
 */
function findPins(platform: Platform, given: string | undefined, answers: Dump['answers']): string {
  const own = 'missing' in answers ? [] : [answers.config.bpffs];
  const places = given === undefined ? [...new Set([...own, defaultBpffs])] : [given];
  const found = places.find((place) => pathExists(platform, currentPins(place).maps));
  if (found !== undefined) return found;
  const paths = places.map((place) => currentPins(place).path).join(' and ');
  throw new Failure(
    exitCodes.failed,
    `read ${paths}: Heddle has no pins there (is an agent running? give the directory with --bpffs)`,
  );
}

async function ask(agent: ControlSource, withDetails: boolean): Promise<Answers> {
  const lists = new Map<string, unknown[]>();
  for (const method of dumpedLists) {
    const items: unknown[] = [];
    for await (const item of agent.items(method)) items.push(item);
    lists.set(method, items);
  }
  const services = listOf({ lists }, 'service.list');
  const names = withDetails
    ? [...new Set(services.map(({ namespace, name }) => `${namespace}/${name}`))]
    : [];
  return {
    status: (await agent.request('status')) as AgentStatus,
    config: (await agent.request('config.get')) as EffectiveConfig,
    details: await details(agent, names),
    lists,
  };
}

/** Reads the details of services, several at a time. A service that is deleted meanwhile is left out. */
async function details(agent: ControlSource, names: readonly string[]): Promise<ServiceDetail[]> {
  const found: ServiceDetail[] = [];
  for (let at = 0; at < names.length; at += requestsAtOnce) {
    const replies = names.slice(at, at + requestsAtOnce).map(async (service) => {
      try {
        const reply = await agent.request('service.get', { service });
        return (reply as { items: ServiceDetail[] }).items;
      } catch (error) {
        if (error instanceof Failure && error.exitCode === exitCodes.failed) return [];
        throw error;
      }
    });
    for (const items of await Promise.all(replies)) for (const item of items) found.push(item);
  }
  return found;
}

function readLinks(bpf: Bpf, platform: Platform, folder: string) {
  const links: DumpedLink[] = [];
  const programs = new Map<number, ProgramInfo>();
  const names = pathExists(platform, folder) ? readDirectory(platform, folder) : [];
  for (const { name: pin } of names) {
    using link = BpfLink.openPinned(bpf, `${folder}/${pin}`);
    const { info } = link;
    links.push({ pin, info });
  }
  readPrograms(
    bpf,
    links.map(({ info }) => info.programId),
    programs,
  );
  links.sort((a, b) => (a.pin < b.pin ? -1 : 1));
  return { links, programs };
}

/** Reads programs by their ids. */
function readPrograms(bpf: Bpf, ids: readonly number[], into: Map<number, ProgramInfo>): void {
  for (const id of ids) {
    if (into.has(id)) continue;
    const fd = bpf.openId('program', id);
    try {
      into.set(id, readProgramInfo(bpf, fd));
    } finally {
      bpf.close(fd);
    }
  }
}

/** Reads the pinned maps, and the constants of the programs. */
function readMaps(
  { bpf, platform, onProgress }: CollectOptions,
  folder: string,
  programs: Iterable<ProgramInfo>,
): Map<number, DumpedMap> {
  const maps = new Map<number, DumpedMap>();
  for (const { name: pin } of readDirectory(platform, folder)) {
    using map = BpfMap.openReadOnly(bpf, `${folder}/${pin}`);
    maps.set(map.info.id, { ...readMap(map, pin, onProgress), pin });
  }
  readConstants(bpf, programs, maps);
  return maps;
}

/** Reads the constants of programs. */
function readConstants(
  bpf: Bpf,
  programs: Iterable<ProgramInfo>,
  into: Map<number, DumpedMap>,
): void {
  for (const { mapIds } of programs) {
    for (const id of mapIds) {
      if (into.has(id)) continue;
      using map = BpfMap.openReadOnly(bpf, id);
      if (map.info.name === '.rodata') into.set(id, readMap(map, '.rodata', undefined));
    }
  }
}

function readMap(
  map: BpfMap,
  name: string,
  onProgress: CollectOptions['onProgress'],
): Omit<DumpedMap, 'pin'> {
  const { info, valueBytes } = map;
  const step = info.keySize + valueBytes;
  const isArray = arrays.has(info.type);
  const entries: Uint8Array[] = [];
  let chunk = new Uint8Array(0);
  let used = 0;
  let seen = 0;
  let count = 0;
  let cut = false;
  const flush = () => {
    if (used > 0) entries.push(chunk.slice(0, used));
    used = 0;
  };
  const isLeftOut = unreadable.has(info.type) || (isMapName(name) && !mapCatalog[name].isDumped);
  for (const [key, value] of isLeftOut ? [] : map.entries()) {
    if (++seen % 100_000 === 0) onProgress?.(name, seen);
    if (isArray && isZero(value)) continue;
    if (count === maxEntriesOfMap) {
      cut = true;
      break;
    }
    if (used + step > chunk.length) {
      flush();
      chunk = new Uint8Array(Math.max(chunkBytes, step));
    }
    chunk.set(key, used);
    chunk.set(value, used + info.keySize);
    used += step;
    count++;
  }
  flush();
  return { info, valueBytes, entries, cut };
}

function isZero(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== 0) return false;
  return true;
}

/** Returns `node_netns_cookie` out of the constants of socket.bpf.c. */
function nodeCookie(constants: readonly DumpedMap[]): bigint | undefined {
  const data = constants.find(({ info }) => info.name === '.rodata')?.entries[0];
  if (!data || data.length < 12) return undefined;
  return new DataView(data.buffer, data.byteOffset).getBigUint64(4, true);
}

function readNetwork(platform: Platform, maps: Dump['maps']): DumpedNetwork {
  using socket = new NetlinkSocket(platform);
  const isOn = (name: string) => decodeUtf8(readFile(platform, `/proc/sys/net/${name}`))[0] !== '0';
  return {
    links: listLinks(socket),
    addresses: listAddresses(socket),
    routes: listRoutes(socket),
    neighbours: listNeighbours(socket),
    forwards: { ipv4: isOn('ipv4/ip_forward'), ipv6: isOn('ipv6/conf/all/forwarding') },
    filters: readFilters(socket, { maps }),
  };
}
