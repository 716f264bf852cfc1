import { readdirSync, rmSync } from 'node:fs';
import { deleteNamespace } from '@heddle/netlink';
import { checked, encodeCString, errno, type Platform, syscallNumbers } from '@heddle/sys';
import { removeCgroup } from './cgroup.ts';
import { listMounts } from './mounts.ts';
import {
  isAlive,
  labNames,
  type RemovedFolder,
  readState,
  removeEmptyParents,
  renameAbandonedFolders,
  renameForRemoval,
  sameBoot,
} from './run-folder.ts';

const MNT_DETACH = 2;

/**
 * Removes a lab with everything in it: processes, pins, namespaces, mounts, cgroups, files. Returns
 * false when there is no lab of that name. A failed step does not keep the others from being done;
 * the errors are thrown together as one AggregateError, and a later call tries again.
 */
export function removeLab(platform: Platform, name: string): boolean {
  const folder = renameForRemoval(name);
  if (folder) removeParts(platform, folder);
  removeEmptyParents();
  return folder !== undefined;
}

/**
 * Removes the labs whose owner has ended without removing them (kill -9), and those from before the
 * last boot. Labs with `keep` stay until the next boot. Returns the names of the removed labs.
 */
export function removeStaleLabs(platform: Platform): string[] {
  const removed: string[] = [];
  for (const folder of renameAbandonedFolders()) {
    removeParts(platform, folder);
    if (folder.state) removed.push(folder.state.name);
  }
  for (const name of labNames()) {
    const state = readState(name);
    if (!state || (state.keep ? sameBoot(state.owner) : isAlive(state.owner))) continue;
    if (removeLab(platform, name)) removed.push(name);
  }
  removeEmptyParents();
  return removed;
}

/** Removes the parts of a lab in an order in which each step frees what the next one removes. */
function removeParts(platform: Platform, { path, state }: RemovedFolder): void {
  const errors: unknown[] = [];
  const attempt = (step: () => void) => {
    try {
      step();
    } catch (error) {
      errors.push(error);
    }
  };
  const mounts = listMounts().filter((mount) => mount.path.startsWith(`${path}/`));
  const bpffs = mounts.filter(({ type }) => type === 'bpf').map((mount) => mount.path);

  // Processes and cgroup first: another lab may soon use the name of the cgroup.
  if (state) attempt(() => removeCgroup(state.cgroup));
  // Pins survive an unmount while another process holds a copy of the mount table.
  for (const folder of bpffs) attempt(() => emptyFolder(folder));
  for (const mount of mounts) {
    if (mount.type === 'nsfs') attempt(() => deleteNamespace(platform, mount.path));
  }
  for (const folder of bpffs.reverse()) attempt(() => unmount(platform, folder));
  if (errors.length === 0) attempt(() => rmSync(path, { recursive: true, force: true }));
  if (errors.length > 0) {
    throw new AggregateError(
      errors,
      `remove lab ${state?.name ?? path}: ${errors.map((error) => (error as Error).message).join('; ')}`,
    );
  }
}

function emptyFolder(path: string): void {
  for (const entry of readdirSync(path)) {
    // The kernel creates these in every bpffs that the host's root user mounts, and never unlinks them.
    if (entry === 'maps.debug' || entry === 'progs.debug') continue;
    rmSync(`${path}/${entry}`, { recursive: true });
  }
}

function unmount(platform: Platform, path: string): void {
  const nr = syscallNumbers(platform);
  const result = platform.syscall(nr.umount2, encodeCString(path), MNT_DETACH);
  if (result !== -errno.EINVAL) checked('umount2', result, `unmount ${path}`);
}
