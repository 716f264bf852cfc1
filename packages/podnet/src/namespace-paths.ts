import { isNetlinkError, type NetlinkSocket, NetworkNamespace, namespaceId } from '@heddle/netlink';
import {
  decodeUtf8,
  inodeOfFd,
  openFile,
  type Platform,
  readDirectory,
  readFile,
  SysError,
} from '@heddle/sys';

/** The inode number of the first PID namespace (linux/proc_ns.h), whose /proc shows all processes. */
const firstPidNamespace = 0xef_ff_ff_fcn;

/** Returns the paths that may lead to namespaces of pods: mounts first, then processes. */
export function* namespacePaths(platform: Platform): Generator<string> {
  // Runtimes mount namespaces where they want, e.g. in /run/netns or in a directory of their own.
  const mounts = decodeUtf8(readFile(platform, '/proc/thread-self/mountinfo'));
  for (const line of mounts.split('\n')) {
    const [, , , root, path] = line.split(' ');
    if (root?.startsWith('net:[') && path !== undefined) yield unescapePath(path);
  }
  for (const { name } of readDirectory(platform, '/proc')) {
    if (/^\d+$/.test(name)) yield `/proc/${name}/ns/net`;
  }
}

/** Returns a path of proc_pid_mountinfo(5), which has octal numbers in place of some characters. */
function unescapePath(path: string): string {
  return path.replace(/\\(\d{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** Returns true unless this process is in a container, in which not all processes of the node are visible. */
export function seesAllProcesses(platform: Platform): boolean {
  using namespace = openFile(platform, '/proc/self/ns/pid');
  return inodeOfFd(platform, namespace.fd) === firstPidNamespace;
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
