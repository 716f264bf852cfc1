import { type Bpf, BpfMap, compatibility, type MapSpec, mapTypes } from '@heddle/ebpf';
import {
  allOrNothing,
  isMissing,
  makeDirectory,
  type Platform,
  pathExists,
  readDirectory,
  removeDirectory,
  removeFile,
  SysError,
} from '@heddle/sys';

/** Where the objects of one layout are pinned: `<root>/v<abi>/maps` and `.../links`. */
export interface PinFolder {
  readonly maps: string;
  readonly links: string;
  readonly path: string;
}

export function pinFolder(root: string, version: string): PinFolder {
  const path = `${root}/${version}`;
  return { path, maps: `${path}/maps`, links: `${path}/links` };
}

/** Folders of other layouts under `root`, newest first. */
export function otherFolders(platform: Platform, root: string, own: string): PinFolder[] {
  if (!pathExists(platform, root)) return [];
  return readDirectory(platform, root)
    .filter(({ name, kind }) => kind === 'directory' && /^v\d+$/.test(name) && name !== own)
    .sort((a, b) => Number(b.name.slice(1)) - Number(a.name.slice(1)))
    .map(({ name }) => pinFolder(root, name));
}

/** Unlinks everything in a folder and removes it; a missing one is fine. */
export function removeFolder(platform: Platform, folder: PinFolder): void {
  for (const path of [folder.links, folder.maps]) {
    if (!pathExists(platform, path)) continue;
    for (const { name } of readDirectory(platform, path)) removeFile(platform, `${path}/${name}`);
    removeDirectory(platform, path);
  }
  removeDirectory(platform, folder.path);
}

/** A map in use, and the one that the programs in force still use if it had to be replaced. */
export interface PinnedMap {
  readonly map: BpfMap;
  /** Where it must yet be pinned, once the programs use it. */
  readonly pinAt: string | undefined;
  /** Why a map that was there could not be used as it is, in words. */
  readonly differences: readonly string[];
}

/**
 * Opens the map that is pinned under this layout or an older one, if it is what `spec` wants;
 * otherwise makes a new one, of the types that the BTF (a descriptor) has, and fills it with what the
 * other one holds. Nothing is pinned yet.
 */
export function openMap(
  bpf: Bpf,
  spec: MapSpec,
  folders: readonly PinFolder[],
  btf: number | undefined,
): PinnedMap {
  const pinAt = `${folders[0]!.maps}/${spec.name}`;
  for (const folder of folders) {
    const path = `${folder.maps}/${spec.name}`;
    let existing: BpfMap;
    try {
      existing = BpfMap.openPinned(bpf, path);
    } catch (error) {
      if (isMissing(error)) continue;
      throw error;
    }
    const differences = compatibility(existing.info, spec);
    if (differences.length === 0) {
      return { map: existing, pinAt: path === pinAt ? undefined : pinAt, differences };
    }
    try {
      const map = allOrNothing((opened) => {
        const filled = opened.use(BpfMap.create(bpf, spec, btf));
        carryOver(existing, filled);
        return filled;
      });
      return { map, pinAt, differences };
    } finally {
      existing[Symbol.dispose]();
    }
  }
  return { map: BpfMap.create(bpf, spec, btf), pinAt, differences: [] };
}

/** Makes a map of another size that holds what an open one does, to be pinned in its place. */
export function resizedMap(
  bpf: Bpf,
  spec: MapSpec,
  from: BpfMap,
  folder: PinFolder,
  btf: number | undefined,
): PinnedMap {
  const map = allOrNothing((opened) => {
    const filled = opened.use(BpfMap.create(bpf, spec, btf));
    carryOver(from, filled);
    return filled;
  });
  return { map, pinAt: `${folder.maps}/${spec.name}`, differences: [] };
}

/** Returns the number of entries that the pinned map of that name has room for; undefined: there is none. */
export function pinnedSize(bpf: Bpf, folders: readonly PinFolder[], name: string) {
  for (const folder of folders) {
    try {
      using map = BpfMap.openPinned(bpf, `${folder.maps}/${name}`);
      return map.info.maxEntries;
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
  return undefined;
}

/** Puts maps where the next start finds them, in place of what is there. */
export function pinMaps(platform: Platform, folder: PinFolder, pinned: readonly PinnedMap[]): void {
  makeDirectory(platform, folder.maps);
  for (const { map, pinAt } of pinned) {
    if (pinAt === undefined) continue;
    removeFile(platform, pinAt);
    map.pin(pinAt);
  }
}

/**
 * Copies what an older map holds. Values only ever grow at their end (see abi.h), so the bytes that
 * both have are copied and the rest is zero. What has no place in a smaller map is left out: the
 * rows it belongs to are written anew. Per-socket storage cannot be copied from here; its layout
 * has not changed since version 1.
 */
function carryOver(from: BpfMap, to: BpfMap): void {
  if (from.info.type !== to.info.type || from.info.keySize !== to.info.keySize) return;
  if (from.info.type === mapTypes.sk_storage || from.info.type === mapTypes.ringbuf) return;
  const value = new Uint8Array(to.valueBytes);
  for (const [key, old] of from.entries()) {
    value.fill(0);
    value.set(old.subarray(0, value.length));
    try {
      to.update(key, value);
    } catch (error) {
      if (!(error instanceof SysError) || error.code !== 'E2BIG') throw error;
      return;
    }
  }
}
