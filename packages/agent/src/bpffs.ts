import { isBpffs, mountBpffs } from '@heddle/ebpf';
import { makeDirectory, type Platform, readDirectory } from '@heddle/sys';
import { ConfigError } from './config.ts';

/**
 * Mounts a bpf file system at `path`, unless `path` is on one. Throws Error for a directory that is not empty,
 * because the mount would hide its content, and ConfigError in a pod, because the mount and all pins would end
 * with the pod. Throws SysError.
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
