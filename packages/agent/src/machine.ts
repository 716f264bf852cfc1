import {
  decodeCString,
  decodeUtf8,
  isMissing,
  type Platform,
  readFile,
  readLink,
  syscallNumbers,
} from '@heddle/sys';

/** A line of /proc/self/mountinfo (proc_pid_mountinfo(5)). */
export interface Mount {
  /** The directory of the file system that is mounted, `/` for all of it. */
  readonly root: string;
  readonly path: string;
  readonly type: string;
}

/** Parses /proc/self/mountinfo; lines of another form are skipped. */
export function parseMounts(text: string): Mount[] {
  const mounts: Mount[] = [];
  for (const line of text.split('\n')) {
    const [own, of] = line.split(' - ');
    const [, , , root, path] = own!.split(' ');
    const type = of?.split(' ')[0];
    if (root && path && type) mounts.push({ root: fromOctal(root), path: fromOctal(path), type });
  }
  return mounts;
}

/** Decodes white space and backslashes, which are written in octal. */
function fromOctal(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

/** Returns the mount point of cgroup v2, preferably of its root, or undefined if it is not mounted. Throws SysError. */
export function cgroupRoot(platform: Platform): string | undefined {
  const text = decodeUtf8(readFile(platform, '/proc/self/mountinfo'));
  const mounts = parseMounts(text).filter((mount) => mount.type === 'cgroup2');
  return (mounts.find((mount) => mount.root === '/') ?? mounts[0])?.path;
}

/** Returns the host name in lower case, which is the kubelet's default name of the node. */
export function hostName(platform: Platform): string {
  // struct new_utsname: six fields of 65 bytes, nodename the second.
  const names = new Uint8Array(6 * 65);
  platform.syscall(syscallNumbers(platform).uname, names);
  return decodeCString(names.subarray(65, 130)).toLowerCase();
}

/** Returns the kernel's release, e.g. `6.1.0-18-amd64`. */
export function kernelRelease(platform: Platform): string {
  const names = new Uint8Array(6 * 65);
  platform.syscall(syscallNumbers(platform).uname, names);
  return decodeCString(names.subarray(130, 195));
}

/** Returns the resident memory of this process in bytes, or undefined where /proc does not have it. */
export function residentBytes(platform: Platform): number | undefined {
  try {
    const pages = Number(decodeUtf8(readFile(platform, '/proc/self/statm')).split(' ')[1]);
    return Number.isFinite(pages) ? pages * platform.pageSize : undefined;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/**
 * Returns the network namespace of this thread, e.g. `net:[4026531840]`, or undefined where /proc does not
 * have it.
 */
export function networkNamespace(platform: Platform): string | undefined {
  try {
    return readLink(platform, '/proc/thread-self/ns/net');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
