import {
  changeLink,
  findLink,
  isNetlinkError,
  type NetlinkSocket,
  type NetworkLink,
  NetworkNamespace,
  namespaceId,
} from '@heddle/netlink';
import { type DirectoryEntry, type Platform, readDirectory, SysError } from '@heddle/sys';

/** The folders in which container runtimes mount network namespaces. */
const namespaceFolders = ['/run/netns', '/var/run/netns', '/run/docker/netns'];

/**
 * Sets the MTU of existing pods' interfaces, of both ends. `links` are the node's ends, in whose
 * namespace the calling thread and `node` are. Returns the names of those whose other end cannot be
 * found or changed: no mount and no process leads to its namespace. A smaller MTU comes to the pods'
 * ends first, so that no end sends what the other one drops. Throws NetlinkError, SysError.
 */
export function changeMtu(
  platform: Platform,
  node: NetlinkSocket,
  links: readonly NetworkLink[],
  mtu: number,
): string[] {
  const waiting = new Set(links);
  const larger = links.filter((link) => link.mtu < mtu);
  for (const link of larger) changeIfThere(node, link.index, mtu);
  for (const path of namespacePaths(platform)) {
    if (waiting.size === 0) break;
    using namespace = tryOpen(platform, path);
    const id = namespace && idOf(node, namespace);
    if (!namespace || id === undefined) continue;
    for (const link of waiting) {
      if (link.peerNamespaceId !== id || link.peer === undefined) continue;
      using inside = node.openIn(namespace.fd);
      changeIfThere(inside, link.peer, mtu);
      waiting.delete(link);
    }
  }
  for (const link of links) if (!larger.includes(link)) changeIfThere(node, link.index, mtu);
  return Array.from(waiting, ({ name }) => name);
}

function changeIfThere(socket: NetlinkSocket, index: number, mtu: number): void {
  if (findLink(socket, index)) changeLink(socket, index, { mtu });
}

/** Returns the node's id of a namespace, or undefined if it has none, or if the file is no namespace. */
function idOf(node: NetlinkSocket, namespace: NetworkNamespace): number | undefined {
  try {
    return namespaceId(node, namespace.fd);
  } catch (error) {
    if (isNetlinkError(error, 'EINVAL', 'EBADF')) return undefined;
    throw error;
  }
}

/** Returns the paths that may lead to namespaces of pods: mounts first, then processes. */
function* namespacePaths(platform: Platform): Generator<string> {
  for (const folder of namespaceFolders) {
    for (const name of namesIn(platform, folder, 'file')) yield `${folder}/${name}`;
  }
  for (const pid of namesIn(platform, '/proc', 'directory')) {
    if (/^\d+$/.test(pid)) yield `/proc/${pid}/ns/net`;
  }
}

function namesIn(platform: Platform, folder: string, kind: DirectoryEntry['kind']): string[] {
  try {
    return readDirectory(platform, folder)
      .filter((entry) => entry.kind === kind)
      .map(({ name }) => name);
  } catch (error) {
    if (error instanceof SysError) return [];
    throw error;
  }
}

/** Opens a namespace. Returns undefined if its process or mount is gone. */
function tryOpen(platform: Platform, path: string): NetworkNamespace | undefined {
  try {
    return NetworkNamespace.open(platform, path);
  } catch (error) {
    if (error instanceof SysError) return undefined;
    throw error;
  }
}
