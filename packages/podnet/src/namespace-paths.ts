import { isNetlinkError, type NetlinkSocket, NetworkNamespace, namespaceId } from '@heddle/netlink';
import { type DirectoryEntry, type Platform, readDirectory, SysError } from '@heddle/sys';

/** The folders in which container runtimes mount network namespaces. */
const namespaceFolders = ['/run/netns', '/var/run/netns', '/run/docker/netns'];

/** Returns the paths that may lead to namespaces of pods: mounts first, then processes. */
export function* namespacePaths(platform: Platform): Generator<string> {
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
export function tryOpenNamespace(platform: Platform, path: string): NetworkNamespace | undefined {
  try {
    return NetworkNamespace.open(platform, path);
  } catch (error) {
    if (error instanceof SysError) return undefined;
    throw error;
  }
}

/** Returns the node's id of a namespace, or undefined if it has none, or if the file is no namespace. */
export function namespaceIdOf(
  node: NetlinkSocket,
  namespace: NetworkNamespace,
): number | undefined {
  try {
    return namespaceId(node, namespace.fd);
  } catch (error) {
    if (isNetlinkError(error, 'EINVAL', 'EBADF')) return undefined;
    throw error;
  }
}
