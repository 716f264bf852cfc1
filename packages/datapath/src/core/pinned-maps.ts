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
import { heddleAbi } from '../generated/abi.ts';

/** The folder in which one layout's maps and links are pinned: `<root>/v<abi>/maps` and `.../links`. */
export interface PinFolder {
  readonly maps: string;
  readonly links: string;
  readonly path: string;
}

const version = `v${heddleAbi.currentAbi}`;

/** Returns the folder below the bpf file system that Heddle pins everything in. */
export function pinRoot(bpffs: string): string {
  return `${bpffs}/heddle`;
}

/** Returns the folder of the maps and links that this version pins. */
export function currentPins(bpffs: string): PinFolder {
  return pinFolder(pinRoot(bpffs), version);
}

/** Returns this version's folder, then those of other layouts that exist, newest first. Throws SysError. */
export function pinFolders(platform: Platform, bpffs: string): PinFolder[] {
  const [own, root] = [currentPins(bpffs), pinRoot(bpffs)];
  if (!pathExists(platform, root)) return [own];
  const others = readDirectory(platform, root)
    .filter(({ name, kind }) => kind === 'directory' && /^v\d+$/.test(name) && name !== version)
    .sort((a, b) => Number(b.name.slice(1)) - Number(a.name.slice(1)))
    .map(({ name }) => pinFolder(root, name));
  return [own, ...others];
}

function pinFolder(root: string, name: string): PinFolder {
  const path = `${root}/${name}`;
  return { path, maps: `${path}/maps`, links: `${path}/links` };
}

/** Unlinks everything in a folder and removes it; a missing one is no error. */
export function removeFolder(platform: Platform, folder: PinFolder): void {
  for (const path of [folder.links, folder.maps]) {
    if (!pathExists(platform, path)) continue;
    for (const { name } of readDirectory(platform, path)) removeFile(platform, `${path}/${name}`);
    removeDirectory(platform, path);
  }
  removeDirectory(platform, folder.path);
}

/** A map in use. The attached programs may still use another one, which it is to replace. */
export interface PinnedMap {
  readonly map: BpfMap;
  /** The path at which it is to be pinned once the programs use it. It is undefined if the map is pinned. */
  readonly pinAt: string | undefined;
  /** The reason why an existing map could not be used as it was, in words. */
  readonly differences: readonly string[];
}

/**
 * Opens the map that is pinned under this layout or an older one, if it is as `spec` wants it; otherwise makes a new
 * one and fills it with the entries of the pinned one. `btf` is a descriptor of the types. Nothing is pinned yet.
 * Throws SysError.
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
      return { map: resizedMap(bpf, spec, existing, btf), pinAt, differences };
    } finally {
      existing[Symbol.dispose]();
    }
  }
  return { map: BpfMap.create(bpf, spec, btf), pinAt, differences: [] };
}

/** Makes a map of another size with the entries of an open one; `btf` is a descriptor of the types. Throws SysError. */
export function resizedMap(bpf: Bpf, spec: MapSpec, from: BpfMap, btf: number | undefined): BpfMap {
  return allOrNothing((opened) => {
    const filled = opened.use(BpfMap.create(bpf, spec, btf));
    carryOver(from, filled);
    return filled;
  });
}

/** Returns the capacity (`max_entries`) of the pinned map of that name, or undefined if none is pinned. */
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

/** Pins maps for the next start, in place of what is pinned there. Throws SysError. */
export function pinMaps(platform: Platform, folder: PinFolder, pinned: readonly PinnedMap[]): void {
  makeDirectory(platform, folder.maps);
  for (const { map, pinAt } of pinned) {
    if (pinAt === undefined) continue;
    removeFile(platform, pinAt);
    map.pin(pinAt);
  }
}

/**
 * Copies the entries of an older map. Values only grow at their end (see abi.h), so the bytes that both have are copied
 * and the rest is zero. Entries that a smaller map has no room for are left out: their rows are written again. Socket
 * storage cannot be copied from here; its layout has not changed since version 1.
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
