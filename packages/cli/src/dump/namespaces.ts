import { readFileSync, statSync } from 'node:fs';
import { cgroupRoot } from '@heddle/agent';
import { listAddresses, NetlinkSocket, NetworkNamespace, netnsCookie } from '@heddle/netlink';
import { type Platform, readDirectory, readLink } from '@heddle/sys';
import type { DumpedNamespace } from './dump.ts';

interface Found {
  /** By which it can be entered, as long as the process or the mount is there. */
  readonly paths: string[];
  readonly names: Set<string>;
  isServed?: boolean;
}

/** A process ends while it is looked at, or may not be looked at. */
const gone = new Set(['ENOENT', 'ESRCH', 'EACCES', 'EINVAL']);

/**
 * Network namespaces that processes are in or that are mounted: with their cookies, by which programs
 * know a socket's pod, and their addresses. `inNode` runs in the namespace with the cookie `node`.
 * `cgroup` is the id of the cgroup that is served.
 */
export function inNamespaces<Result>(
  platform: Platform,
  cgroup: bigint | undefined,
  node: bigint | undefined,
  inNode: () => Result,
): { namespaces: DumpedNamespace[]; node: Result | undefined } {
  const namespaces: DumpedNamespace[] = [];
  let result: Result | undefined;
  for (const [inode, { paths, names, isServed }] of find(platform, cgroup)) {
    using namespace = NetworkNamespace.openFirst(platform, paths, inode);
    if (!namespace) continue;
    namespaces.push(
      namespace.enter(() => {
        const cookie = netnsCookie(platform);
        const isNode = cookie === node;
        if (isNode) result = inNode();
        using socket = new NetlinkSocket(platform);
        const addresses = listAddresses(socket)
          .filter(({ scope }) => scope === 'universe' || scope === 'site')
          .map(({ address }) => address);
        return {
          ...{ inode, cookie, isNode, addresses },
          // Host names of the node's own processes are those of pods that use its namespace.
          names: isNode ? ['node'] : [...names].sort(),
          ...(isServed === undefined ? {} : { isServed }),
        };
      }),
    );
  }
  return { namespaces, node: result };
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
