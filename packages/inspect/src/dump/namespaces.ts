import { readFileSync, statSync } from 'node:fs';
import { cgroupRoot } from '@heddle/agent';
import {
  listAddresses,
  listLinks,
  NetlinkSocket,
  NetworkNamespace,
  namespaceId,
  netnsCookie,
} from '@heddle/netlink';
import { type Platform, readDirectory, readLink } from '@heddle/sys';
import type { Answers, DumpedNamespace } from './dump.ts';

interface Found {
  /** By which it can be entered, as long as the process or the mount is there. */
  readonly paths: string[];
  readonly names: Set<string>;
  isServed?: boolean;
}

/** A process ends while it is looked at, or may not be looked at. */
const gone = new Set(['ENOENT', 'ESRCH', 'EACCES', 'EINVAL']);

/** Id of the root of the cgroup v2 hierarchy: its kernfs root has inode number 1. */
const rootCgroup = 1n;

/** The facts about a node that are known before its network namespaces are looked at. */
export interface NodeFacts {
  /** Id of the cgroup that is served. */
  readonly cgroup: bigint | undefined;
  /** Cookie of the node's own network namespace. */
  readonly cookie: bigint | undefined;
  /** Indexes of the node's network interfaces by which external traffic enters. */
  readonly external: ReadonlySet<number>;
  /** The agent's answers; undefined without an agent. */
  readonly known: Pick<Answers, 'pods' | 'config'> | undefined;
}

/**
 * Network namespaces that processes are in or that are mounted: with their cookies, by which programs
 * know a socket's pod, and their addresses. `inNode` runs in the node's own namespace. In the agent's pod,
 * which has a process namespace of its own, pods are known by their mounted network namespaces alone. Throws
 * SysError, NetlinkError.
 */
export function inNamespaces<Result>(
  platform: Platform,
  inNode: () => Result,
  { cgroup, cookie: nodeCookie, external, known }: NodeFacts,
): { namespaces: DumpedNamespace[]; node: Result | undefined } {
  const found = find(platform, cgroup);
  using node = openNode(platform, found, nodeCookie);
  const namespaces: DumpedNamespace[] = [];
  for (const [inode, { paths, names, isServed }] of found) {
    using namespace = NetworkNamespace.openFirst(platform, paths, inode);
    if (!namespace) continue;
    const seen = namespace.enter(() => {
      using socket = new NetlinkSocket(platform);
      const cookie = netnsCookie(platform);
      const addresses = listAddresses(socket)
        .filter(({ scope }) => scope === 'universe' || scope === 'site')
        .map(({ address }) => address);
      const isAttached = node !== undefined && isTied(socket, node, external);
      return { inode, cookie, isNode: cookie === nodeCookie, addresses, isAttached };
    });
    // With the root of the hierarchy attached, the processes of all pods are served, those not seen as well.
    const served = isServed ?? (cgroup === rootCgroup && seen.isAttached ? true : undefined);
    namespaces.push({
      ...seen,
      names: seen.isNode
        ? nodeNames(known)
        : [...new Set([...podNames(known, seen.addresses), ...names])].sort(),
      ...(served === undefined ? {} : { isServed: served }),
    });
  }
  return { namespaces, node: node?.enter(inNode) };
}

/** The node's own namespace, or undefined where it can't be seen. */
function openNode(
  platform: Platform,
  found: ReadonlyMap<number, Found>,
  cookie: bigint | undefined,
): NetworkNamespace | undefined {
  for (const [inode, { paths }] of cookie === undefined ? [] : found) {
    const namespace = NetworkNamespace.openFirst(platform, paths, inode);
    if (namespace?.cookie === cookie) return namespace;
    namespace?.[Symbol.dispose]();
  }
  return undefined;
}

/** True when a link of the socket's namespace leads to an interface of the node that is not external. */
function isTied(
  socket: NetlinkSocket,
  node: NetworkNamespace,
  external: ReadonlySet<number>,
): boolean {
  // Listing the links first gives the node's namespace an id here.
  const links = listLinks(socket);
  const id = namespaceId(socket, node.fd);
  if (id === undefined) return false;
  return links.some(
    ({ peer, peerNamespaceId }) =>
      peerNamespaceId === id && peer !== undefined && !external.has(peer),
  );
}

/** Host names of the node's own processes are those of pods that use its namespace: they are not names of it. */
function nodeNames(known: NodeFacts['known']): string[] {
  return known && known.config.node !== 'node' ? ['node', known.config.node] : ['node'];
}

function podNames(known: NodeFacts['known'], addresses: readonly string[]): string[] {
  return (known?.pods ?? [])
    .filter((pod) => pod.addresses.some((address) => addresses.includes(address)))
    .flatMap(({ namespace, name }) => [name, `${namespace}/${name}`]);
}

function find(platform: Platform, cgroup: bigint | undefined): Map<number, Found> {
  const found = new Map<number, Found>();
  const at = (inode: number, path: string) => {
    const known = found.get(inode) ?? { paths: [], names: new Set<string>() };
    found.set(inode, known);
    known.paths.push(path);
    return known;
  };
  const isServed = servedBy(cgroupRoot(platform), cgroup);
  for (const { name } of readDirectory(platform, '/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const path = `/proc/${name}/ns/net`;
    try {
      const inode = Number(/^net:\[(\d+)\]$/.exec(readLink(platform, path))?.[1]);
      const namespace = at(inode, path);
      const own = readFileSync(`/proc/${name}/cgroup`, 'utf8');
      const group = /^0::(\/.*)$/m.exec(own)?.[1];
      if (group !== undefined) namespace.isServed = namespace.isServed || isServed(group);
      const host = hostNameOf(name);
      if (host !== undefined) namespace.names.add(host);
    } catch (error) {
      if (!gone.has((error as { code?: string }).code ?? '')) throw error;
    }
  }
  for (const [inode, path] of mounted(readFileSync('/proc/self/mountinfo', 'utf8'))) {
    at(inode, path).names.add(path.slice(path.lastIndexOf('/') + 1));
  }
  return found;
}

/** HOSTNAME of a process: container runtimes set it to the pod's name. Nothing else is kept. */
function hostNameOf(process: string): string | undefined {
  const environment = readFileSync(`/proc/${process}/environ`, 'latin1');
  return /(?:^|\0)HOSTNAME=([\w.-]{1,253})(?:\0|$)/.exec(environment)?.[1];
}

/** Network namespaces that are mounted somewhere, by inode number. */
export function mounted(mountinfo: string): Map<number, string> {
  const found = new Map<number, string>();
  for (const line of mountinfo.split('\n')) {
    const match = /^\d+ \d+ \S+ net:\[(\d+)\] (\S+) .* - nsfs /.exec(line);
    if (match) found.set(Number(match[1]), match[2]!);
  }
  return found;
}

/** Tells whether a cgroup, as processes name theirs, is the one with this id or below it. */
function servedBy(root: string | undefined, id: bigint | undefined): (group: string) => boolean {
  const known = new Map<string, boolean>();
  const look = (group: string): boolean => {
    const before = known.get(group);
    if (before !== undefined) return before;
    const parent = group === '/' ? undefined : group.slice(0, group.lastIndexOf('/')) || '/';
    const status = statSync(`${root}${group}`, { bigint: true, throwIfNoEntry: false });
    const answer = status?.ino === id || (parent !== undefined && look(parent));
    known.set(group, answer);
    return answer;
  };
  return (group) => root !== undefined && id !== undefined && look(group);
}
