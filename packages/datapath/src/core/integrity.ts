import { type Bpf, BpfMap, mountBpffs } from '@heddle/ebpf';
import { type FileStatus, fileStatus, makeDirectory, type Platform, removeFile } from '@heddle/sys';
import type { DevicePrograms } from '../devices/device-programs.ts';
import type { NodeRoutes } from '../node-routes/node-routes.ts';
import type { PodPrograms } from '../pods/pod-programs.ts';
import type { Damage, ProgrammedContent } from './audit.ts';
import type { DatapathMaps } from './datapath-maps.ts';
import { isNowhere, openLink, type PinnedLinks } from './pinned-links.ts';
import type { PinFolder } from './pinned-maps.ts';

/** The parts of a datapath that other processes can remove, and the functions that restore them. */
export interface IntegrityParts {
  readonly platform: Platform;
  readonly bpf: Bpf;
  readonly bpffs: string;
  readonly folder: PinFolder;
  readonly cgroup: string;
  readonly maps: DatapathMaps;
  readonly links: PinnedLinks;
  readonly devices: DevicePrograms;
  readonly nodeRoutes: Pick<NodeRoutes, 'detached'>;
  readonly pods: PodPrograms;
  readonly contents: readonly ProgrammedContent[];
  /** Returns true while the programs of this agent are to be attached. */
  readonly isActive: () => boolean;
  /** Attaches all programs that are not attached. Throws SysError, NetlinkError. */
  readonly attach: () => void;
  /** Starts the timer that ages flows: it ends when the entry of its map is overwritten. Throws SysError. */
  readonly startSweeping: () => void;
}

/**
 * Compares what the kernel has with what was programmed: attached programs, pins, entries of maps. Other processes
 * can change all of it without the agent's knowledge. Methods are called in the network namespace of the
 * interfaces.
 */
export class Integrity {
  readonly #parts: IntegrityParts;
  /** The cgroup that the programs are attached to. */
  #cgroup: string | undefined;
  /** The folders of pins when all pins were there. */
  #pinStamp = '';
  #next = 0;

  constructor(parts: IntegrityParts) {
    this.#parts = parts;
  }

  /** Remembers the present state of pins and cgroup as the right one. Throws SysError. */
  noteMade(): void {
    const { platform, cgroup } = this.#parts;
    this.#cgroup = statusOf(platform, cgroup)?.identity;
    this.#pinStamp = this.#stamp();
  }

  /**
   * Returns the hooks and pins that other processes have changed, or none while the programs are not to be attached.
   * It makes some twenty system calls. Throws SysError, NetlinkError.
   */
  checkAttachments(): Damage[] {
    return this.#parts.isActive() ? this.#check() : [];
  }

  #check(): Damage[] {
    const { links, devices, nodeRoutes, pods } = this.#parts;
    const detached = links.detached();
    return [
      ...this.#checkCgroup(),
      ...detached.filter(({ name }) => !name.includes('@')),
      ...devices.detached(detached),
      ...nodeRoutes.detached(),
      ...pods.detached(detached),
      ...this.#checkPins(),
    ];
  }

  /** The number of calls of `auditNext` that it takes to compare all maps. */
  get mapCount(): number {
    return this.#parts.contents.length;
  }

  /**
   * Compares the content of the next map with what was programmed. When all maps have had their turn, the next check
   * compares all pins too. Throws SysError.
   */
  auditNext(): Damage[] {
    const { contents, isActive } = this.#parts;
    if (!isActive()) return [];
    if (this.#next === contents.length) {
      this.#next = 0;
      this.#pinStamp = '';
    }
    return contentDamage(contents[this.#next++]!);
  }

  /**
   * Restores what is damaged, as far as it can. Returns what is left, and the first error. Programs and pins of other
   * processes elsewhere are left alone. Throws SysError, NetlinkError when the result can't be checked.
   */
  repair(damages: readonly Damage[]): { left: readonly Damage[]; error: Error | undefined } {
    const { platform, bpffs, folder, contents, attach, startSweeping } = this.#parts;
    const damaged = new Set(damages.filter(({ kind }) => kind === 'map').map(({ name }) => name));
    const maps = contents.filter(({ name }) => damaged.has(name));
    const is = (wanted: Damage['kind']) => damages.some(({ kind }) => kind === wanted);
    const errors: Error[] = [];
    const attempt = (work: () => void) => {
      try {
        work();
      } catch (error) {
        errors.push(error as Error);
      }
    };
    if (is('hook') || is('pin')) {
      attempt(() => {
        mountBpffs(platform, bpffs);
        for (const path of [folder.maps, folder.links]) makeDirectory(platform, path);
      });
    }
    if (is('hook')) attempt(attach);
    if (is('hook') || is('pin')) attempt(() => this.#pinAll());
    for (const content of maps) attempt(() => content.restore());
    if (maps.length > 0) attempt(startSweeping);
    if (errors.length === 0) this.noteMade();
    return { left: [...this.checkAttachments(), ...maps.flatMap(contentDamage)], error: errors[0] };
  }

  #checkCgroup(): Damage[] {
    const { platform, cgroup } = this.#parts;
    const found = statusOf(platform, cgroup)?.identity;
    if (found === this.#cgroup) return [];
    const problem = found === undefined ? 'is missing' : 'was replaced';
    return [{ kind: 'hook', name: `cgroup ${cgroup}`, problem }];
  }

  /** The folders' times change when a pin is removed, added or replaced; only then each pin is compared. */
  #checkPins(): Damage[] {
    const stamp = this.#stamp();
    if (stamp === this.#pinStamp) return [];
    const damages = [...this.#lostPins()].map(
      (path): Damage => ({ kind: 'pin', name: path, problem: 'is missing or something else' }),
    );
    if (damages.length === 0) this.#pinStamp = stamp;
    return damages;
  }

  #stamp(): string {
    const { platform, folder } = this.#parts;
    return [folder.maps, folder.links]
      .map((path) => {
        const status = statusOf(platform, path);
        return status ? `${status.identity} ${status.modifiedNs}` : 'missing';
      })
      .join();
  }

  *#lostPins(): Generator<string> {
    const { bpf, folder, maps, links } = this.#parts;
    for (const { info } of maps.all()) {
      const path = `${folder.maps}/${info.name}`;
      if (pinnedMapId(bpf, path) !== info.id) yield path;
    }
    for (const [name, id] of links.pins()) {
      using pinned = openLink(bpf, [folder], name);
      if (pinned?.link.info.id !== id) yield `${folder.links}/${name}`;
    }
  }

  #pinAll(): void {
    const { platform, bpf, folder, maps, links } = this.#parts;
    for (const map of maps.all()) {
      const path = `${folder.maps}/${map.info.name}`;
      if (pinnedMapId(bpf, path) === map.info.id) continue;
      removeFile(platform, path);
      map.pin(path);
    }
    for (const [name] of links.pins()) links.pin(name);
  }
}

/** Returns the status of a file, or undefined when nothing is at the path. Throws SysError. */
function statusOf(platform: Platform, path: string): FileStatus | undefined {
  try {
    return fileStatus(platform, path);
  } catch (error) {
    if (isNowhere(error)) return undefined;
    throw error;
  }
}

function contentDamage(content: ProgrammedContent): Damage[] {
  const problem = content.problem();
  return problem === undefined ? [] : [{ kind: 'map', name: content.name, problem }];
}

/** Returns the id of the map that is pinned at a path, or undefined when none is. Throws SysError. */
function pinnedMapId(bpf: Bpf, path: string): number | undefined {
  try {
    using map = BpfMap.openPinned(bpf, path);
    return map.info.id;
  } catch (error) {
    if (isNowhere(error)) return undefined;
    throw error;
  }
}
