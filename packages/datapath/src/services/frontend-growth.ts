import type { Bpf } from '@heddle/ebpf';
import { allOrNothing, type Disposal, type Platform } from '@heddle/sys';
import { frontendMaps, withFrontends } from '../configured-objects.ts';
import type { ProgrammedMap } from '../core/audit.ts';
import type { DatapathMaps } from '../core/datapath-maps.ts';
import { type PinFolder, pinnedSize } from '../core/pinned-maps.ts';
import { loadPrograms, mapObjects, type Programs, partsOf } from '../core/programs.ts';
import type { DatapathSizes } from '../datapath-options.ts';

/** The parts of a datapath that change when the maps of frontends grow. */
export interface GrowthParts {
  readonly bpf: Bpf;
  readonly platform: Platform;
  readonly sizes: DatapathSizes;
  readonly maps: DatapathMaps;
  readonly programs: Programs;
  readonly frontends: FrontendMaps;
  /** Releases the larger maps and their programs with the datapath. */
  readonly opened: Disposal;
  /** Attaches the present programs in place of others, if any are attached. Throws SysError, NetlinkError. */
  readonly attach: () => void;
  /** Pins the larger maps, if the others are pinned. Throws SysError. */
  readonly pin: () => void;
}

/** The maps that grow with the number of frontends. */
export type FrontendMaps = Readonly<Record<(typeof growing)[number], ProgrammedMap>>;

const growing = ['services', 'addresses'] as const;

/**
 * Entries that the map of frontends has at most: an eighth more than frontends are wanted, so that a change
 * can be written before what it replaces is deleted.
 */
function largest({ services, servicesMax = 0 }: DatapathSizes): number {
  return servicesMax === 0 ? services : Math.ceil(Math.max(services, servicesMax) * 1.125);
}

/** Returns the sizes to start with: maps that have grown stay as they are. Throws SysError. */
export function presentSizes(
  bpf: Bpf,
  folders: readonly PinFolder[],
  sizes: DatapathSizes,
): DatapathSizes {
  const present = pinnedSize(bpf, folders, 'services') ?? 0;
  return { ...sizes, services: Math.max(sizes.services, Math.min(present, largest(sizes))) };
}

/** Returns the entries that each growing map can have, by name. */
export function largestSizes(sizes: DatapathSizes): Readonly<Record<string, number>> {
  const { services, servicesMax } = sizes;
  if (servicesMax === undefined) return {};
  return frontendMaps({ ...sizes, services: Math.max(services, servicesMax) });
}

/**
 * Has the programs go on with maps of frontends and addresses that have room for `entries` frontends and more. The
 * larger maps hold the same when the programs switch to them, one after the other, and nothing is written in
 * between, so no connection notices. When the agent dies in between, the next one finds the old maps, which hold
 * the same, too. Throws SysError, VerifierError, NetlinkError; then everything is as before.
 */
export function growFrontends(entries: number, parts: GrowthParts): void {
  const { bpf, platform, maps, programs, frontends, opened, attach } = parts;
  const present = maps.get('services').info.maxEntries;
  const services = Math.min(largest(parts.sizes), Math.max(2 * present, Math.ceil(entries * 1.25)));
  if (services <= present) return;
  const sizes = { ...parts.sizes, services };
  const before = { specs: programs.specs, loaded: programs.loaded };
  const specs = mapObjects(before.specs, (spec) => withFrontends(spec, sizes));
  const { larger, loaded } = allOrNothing((made) => {
    const larger = maps.resized(specs.socket, growing, made);
    const byName = { ...maps.byName };
    for (const { map } of larger) byName[map.info.name] = map;
    const loaded = loadPrograms(bpf, specs, byName, made);
    try {
      programs.replace(specs, loaded);
      attach();
    } catch (error) {
      programs.replace(before.specs, before.loaded);
      attach();
      throw error;
    }
    return { larger, loaded };
  });
  for (const part of partsOf(loaded)) opened.use(part);
  const smaller = maps.replace(larger);
  for (const name of growing) frontends[name].moveTo(maps.get(name));
  parts.pin();
  for (const part of [...partsOf(before.loaded), ...smaller]) part[Symbol.dispose]();
  platform.log('info', 'the maps of frontends were made larger', { before: present, services });
}
