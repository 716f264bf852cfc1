import {
  checked,
  decodeUtf8,
  encodeCString,
  inodeOfFd,
  isMissing,
  O_DIRECTORY,
  O_RDONLY,
  openFile,
  type Platform,
  readFile,
  syscallNumbers,
} from '@heddle/sys';
import { ConfigError } from './config.ts';
import { parseMounts } from './machine.ts';

/** CGROUP2_SUPER_MAGIC of linux/magic.h. */
const CGROUP2_SUPER_MAGIC = 0x63677270;
/** The id of the root of the hierarchy; the inode number of a directory is the id of its cgroup (fs/kernfs). */
const rootId = 1n;

const remedy =
  'run the agent in the cgroup namespace of the node, e.g. docker run --cgroupns=host, or mount the root of the node’s cgroup v2 into the container and give its path with --cgroup';

/**
 * Returns the cgroup whose processes are served: the configured one, or the root of the hierarchy.
 *
 * A process in a cgroup namespace of its own sees its own cgroup as the root (cgroup_namespaces(7)): programs
 * attached there would serve that container only, and replace the links of an agent that served the node. Such a
 * mount claims to show the root, but its id is another one. A configured part of the hierarchy, a directory or a
 * bind mount of one, makes no such claim. Throws ConfigError, SysError.
 */
export function chooseCgroup(platform: Platform, wanted: string | undefined): string {
  const mounts = cgroupMounts(platform);
  const mistaken = mounts.filter(({ root, id }) => root === '/' && id !== rootId);
  if (wanted === undefined) {
    const whole = mounts.find(({ id }) => id === rootId);
    if (whole) return whole.path;
    if (mounts.length === 0) {
      throw new ConfigError(
        'find cgroup: no cgroup2 file system is mounted (mount one, or give --cgroup)',
      );
    }
    const [{ path, id }] = mistaken.length > 0 ? mistaken : (mounts as [CgroupMount]);
    throw new ConfigError(
      `find cgroup: what is mounted on ${path} is not the root of the hierarchy but the cgroup with id ${id}, so only processes in it would be served (${remedy})`,
    );
  }
  const id = cgroupId(platform, wanted);
  if (id === undefined) {
    throw new ConfigError(
      `use cgroup ${wanted}: it is not on a cgroup2 file system (give a directory of one: ${places(mounts)})`,
    );
  }
  if (mistaken.some((mount) => mount.id === id)) {
    throw new ConfigError(
      `use cgroup ${wanted}: it looks like the root of the hierarchy but is the cgroup with id ${id}, because this process is in a cgroup namespace of its own; only processes in that cgroup would be served (${remedy})`,
    );
  }
  return wanted;
}

function places(mounts: readonly CgroupMount[]): string {
  if (mounts.length === 0) return 'none is mounted here, mount -t cgroup2 none DIRECTORY does it';
  return `it is mounted on ${mounts.map(({ path }) => path).join(' and ')}`;
}

interface CgroupMount {
  readonly root: string;
  readonly path: string;
  readonly id: bigint;
}

/** Returns the mounts of cgroup v2 that this process can see. */
function cgroupMounts(platform: Platform): CgroupMount[] {
  const text = decodeUtf8(readFile(platform, '/proc/self/mountinfo'));
  return parseMounts(text).flatMap(({ type, root, path }) => {
    if (type !== 'cgroup2') return [];
    try {
      const id = cgroupId(platform, path);
      return id === undefined ? [] : [{ root, path, id }];
    } catch (error) {
      // Another mount covers it.
      if (isMissing(error)) return [];
      throw error;
    }
  });
}

/** Returns the id of the cgroup of a directory, or undefined if it is no cgroup. Throws SysError. */
export function cgroupId(platform: Platform, path: string): bigint | undefined {
  // struct statfs: f_type is its first word (8 bytes on x86-64 and arm64).
  const status = new Uint8Array(256);
  const nr = syscallNumbers(platform).statfs;
  checked('statfs', platform.syscall(nr, encodeCString(path), status), `use cgroup ${path}`);
  if (new DataView(status.buffer).getUint32(0, true) !== CGROUP2_SUPER_MAGIC) return undefined;
  using directory = openFile(platform, path, O_RDONLY | O_DIRECTORY);
  return inodeOfFd(platform, directory.fd);
}
