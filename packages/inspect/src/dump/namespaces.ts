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
import { type Answers, type DumpedNamespace, listOf } from './dump.ts';

interface FoundNamespace {
  /** Paths to enter it by, as long as the process or the mount exists. */
  readonly paths: string[];
  readonly names: Set<string>;
  isServed?: boolean;
}

/** Errors of a process that ends meanwhile, or that must not be read. */
const gone = new Set(['ENOENT', 'ESRCH', 'EACCES', 'EINVAL']);

/** Id of the root of the cgroup v2 hierarchy: its kernfs root has inode number 1. */
const rootCgroup = 1n;

/** The facts about a node that are known before its network namespaces are read. */
export interface NodeFacts {
  /** The id of the cgroup that Heddle serves. */
  readonly cgroup: bigint | undefined;
  /** Cookie of the node's own network namespace. */
  readonly cookie: bigint | undefined;
  /** Indexes of the node's network interfaces by which external traffic enters. */
  readonly external: ReadonlySet<number>;
  /** The agent's answers; undefined without an agent. */
  readonly known: Pick<Answers, 'lists' | 'config'> | undefined;
}

/**
 * Returns the network namespaces of processes and mounts, with their addresses and their cookies, by which
 * programs recognise a socket's pod. `inNode` runs in the node's own namespace. In the agent's pod, which
 * has a PID namespace of its own, only mounted network namespaces are found. Throws SysError, NetlinkError.
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
      const isAttached = node !== undefined && isPaired(socket, node, external);
      return { inode, cookie, isNode: cookie === nodeCookie, addresses, isAttached };
    });
    // With programs at the root of the hierarchy, the processes of all pods are served, also those
    // not seen.
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

/** Opens the node's own namespace, or undefined where it can't be found. */
function openNode(
  platform: Platform,
  found: ReadonlyMap<number, FoundNamespace>,
  cookie: bigint | undefined,
): NetworkNamespace | undefined {
  for (const [inode, { paths }] of cookie === undefined ? [] : found) {
    const namespace = NetworkNamespace.openFirst(platform, paths, inode);
    if (namespace?.cookie === cookie) return namespace;
    namespace?.[Symbol.dispose]();
  }
  return undefined;
}

/** Returns true when an interface of the socket's namespace is paired with one of the node that is not external. */
function isPaired(
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

/** Returns the names of the node. Host names of processes in its namespace are those of pods with hostNetwork. */
function nodeNames(known: NodeFacts['known']): string[] {
  return known && known.config.node !== 'node' ? ['node', known.config.node] : ['node'];
}

function podNames(known: NodeFacts['known'], addresses: readonly string[]): string[] {
  return (known ? listOf(known, 'pod.list') : [])
    .filter((pod) => pod.addresses.some((address) => addresses.includes(address)))
    .flatMap(({ namespace, name }) => [name, `${namespace}/${name}`]);
}

function find(platform: Platform, cgroup: bigint | undefined): Map<number, FoundNamespace> {
  const found = new Map<number, FoundNamespace>();
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

/** Returns HOSTNAME of a process, which container runtimes set to the pod's name. Nothing else is kept. */
function hostNameOf(process: string): string | undefined {
  const environment = readFileSync(`/proc/${process}/environ`, 'latin1');
  return /(?:^|\0)HOSTNAME=([\w.-]{1,253})(?:\0|$)/.exec(environment)?.[1];
}

/** Returns the mount points of network namespaces, by inode number. */
export function mounted(mountinfo: string): Map<number, string> {
  const found = new Map<number, string>();
  for (const line of mountinfo.split('\n')) {
    const match = /^\d+ \d+ \S+ net:\[(\d+)\] (\S+) .* - nsfs /.exec(line);
    if (match) found.set(Number(match[1]), match[2]!);
  }
  return found;
}

/** Returns a function that is true for the cgroup with this id and for those below it. */
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
