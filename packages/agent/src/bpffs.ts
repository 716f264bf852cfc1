import { isBpffs, mountBpffs } from '@heddle/ebpf';
import { makeDirectory, type Platform, readDirectory } from '@heddle/sys';

/**
 * Sees to it that `path` lies on a bpf file system, and mounts one there if not. It is never
 * mounted over a directory that holds something: Error. Throws SysError.
 */
export function prepareBpffs(platform: Platform, path: string): void {
  makeDirectory(platform, path);
  if (!isBpffs(platform, path) && readDirectory(platform, path).length > 0) {
    throw new Error(
      `mount bpf file system on ${path}: the directory is not empty (give --bpffs an empty one, or one on a bpf file system)`,
    );
  }
  mountBpffs(platform, path);
}
