import { isBpffs, mountBpffs } from '@heddle/ebpf';
import { makeDirectory, type Platform, readDirectory } from '@heddle/sys';
import { ConfigError } from './config.ts';

/**
 * Sees to it that `path` lies on a bpf file system, and mounts one there if not. It is never
 * mounted over a directory that holds something: Error. In a pod none is mounted at all, as it would
 * end with the pod, and with it all that is pinned: ConfigError. Throws SysError.
 */
export function prepareBpffs(
  platform: Platform,
  path: string,
  { inPod }: { readonly inPod: boolean },
): void {
  if (!isBpffs(platform, path) && inPod) {
    throw new ConfigError(
      `use bpffs ${path}: no bpf file system is mounted there, and one that a pod mounts ends with it (mount one on the node, e.g. mount -t bpf bpf /sys/fs/bpf)`,
    );
  }
  makeDirectory(platform, path);
  if (!isBpffs(platform, path) && readDirectory(platform, path).length > 0) {
    throw new Error(
      `mount bpf file system on ${path}: the directory is not empty (give --bpffs an empty one, or one on a bpf file system)`,
    );
  }
  mountBpffs(platform, path);
}
