import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { listMounts, type Mount } from './mounts.ts';
import { poll } from './poll.ts';

/**
 * Returns the mount of the cgroup2 hierarchy: /sys/fs/cgroup, or /sys/fs/cgroup/unified beside
 * version 1. Throws an Error when it is not mounted.
 */
function cgroup2Mount(): Mount {
  const mount = listMounts().find(({ type }) => type === 'cgroup2');
  if (!mount) {
    throw new Error(
      'find cgroup2: not mounted; mount it with `mount -t cgroup2 none /sys/fs/cgroup` or boot with systemd',
    );
  }
  return mount;
}

/** Returns the folder of the root cgroup, as this process sees it. */
export function cgroupRoot(): string {
  return cgroup2Mount().path;
}

/** Returns the folder of the cgroup of this process. */
export function ownCgroup(): string {
  return cgroupFolder(cgroup2Mount(), readFileSync('/proc/self/cgroup', 'utf8'));
}

/** Returns the folder below the mount that `text`, the content of /proc/<pid>/cgroup, names. */
export function cgroupFolder(mount: Mount, text: string): string {
  const own = /^0::(.*)$/m.exec(text)?.[1] ?? '/';
  // In a container without a cgroup namespace, the mount shows only a part of the hierarchy to which
  // this path refers.
  const inside = `${own}/`.startsWith(`${mount.root}/`.replace('//', '/'));
  const path = inside ? own.slice(mount.root.length) : own;
  return `${mount.path}/${path}`.replace(/\/+/g, '/').replace(/\/$/, '');
}

/**
 * Runs `work` while this process is in the cgroup at `path`, and returns to the previous one. The
 * processes that `work` starts and the sockets that it opens belong to the cgroup from the start.
 */
export function inCgroup<Result>(path: string, work: () => Result): Result {
  const original = ownCgroup();
  enterCgroup(path);
  try {
    return work();
  } finally {
    enterCgroup(original);
  }
}

function enterCgroup(path: string): void {
  writeFileSync(`${path}/cgroup.procs`, `${process.pid}`);
}

export function makeCgroup(path: string): void {
  mkdirSync(path, { recursive: true });
}

/**
 * Kills every process at and below `path` (Linux 5.14), waits until they have ended, and removes the
 * cgroups; a missing one is fine. If the calling process is inside, it leaves first.
 */
export function removeCgroup(path: string): void {
  if (!exists(path)) return;
  if (`${ownCgroup()}/`.startsWith(`${path}/`)) enterCgroup(cgroupRoot());
  poll(`end the processes in ${path}`, 10_000, () => {
    if (!exists(path)) return true;
    writeUnlessMissing(`${path}/cgroup.kill`, '1');
    return !populated(path);
  });
  // A cgroup stays busy for a short time after its last process has ended.
  poll(`remove cgroup ${path}`, 10_000, () => removeTree(path));
}

/** Returns the ids of the processes in the cgroup and below it. */
export function processesIn(path: string): number[] {
  const own = readUnlessMissing(`${path}/cgroup.procs`).split('\n').filter(Boolean).map(Number);
  return [...own, ...childrenOf(path).flatMap((child) => processesIn(`${path}/${child}`))];
}

function populated(path: string): boolean {
  return readUnlessMissing(`${path}/cgroup.events`).includes('populated 1');
}

function removeTree(path: string): boolean {
  const below = childrenOf(path).map((child) => removeTree(`${path}/${child}`));
  if (below.includes(false)) return false;
  try {
    rmdirSync(path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return true;
    if (code === 'EBUSY' || code === 'ENOTEMPTY') return false;
    throw error;
  }
}

function exists(path: string): boolean {
  return readUnlessMissing(`${path}/cgroup.events`) !== '';
}

function childrenOf(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

function readUnlessMissing(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (isGone(error)) return '';
    throw error;
  }
}

function writeUnlessMissing(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

/** Returns whether the file is gone. ENODEV: it was removed between open and read. */
function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENODEV';
}
