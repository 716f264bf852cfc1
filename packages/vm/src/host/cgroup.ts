import { linkTypes } from '@heddle/ebpf/internal';
import type { AttachPoint, LinkObject } from '../links.ts';
import type { Program } from '../machine.ts';

/** A cgroup. Its links apply to sockets that were made in it or below. */
export class VmCgroup implements AttachPoint {
  readonly linkType = linkTypes.cgroup;
  /** The inode number of its directory. */
  readonly id: bigint;
  readonly #parent: VmCgroup | undefined;
  readonly #children: VmCgroup[] = [];
  readonly #links: LinkObject[] = [];
  readonly #effective = new Map<number, readonly LinkObject[]>();

  constructor(id: bigint, parent?: VmCgroup) {
    this.id = id;
    this.#parent = parent;
    if (parent) parent.#children.push(this);
  }

  attach(link: LinkObject): void {
    this.#links.push(link);
    this.#forget();
  }

  detach(link: LinkObject): void {
    this.#links.splice(this.#links.indexOf(link), 1);
    this.#forget();
  }

  describe(info: DataView, link: LinkObject): void {
    info.setBigUint64(16, link.isAttached ? this.id : 0n, true);
    info.setUint32(24, link.attachType, true);
  }

  /** Returns the programs of an attach type in the order of their runs: its own, then those of its ancestors. */
  *programs(attachType: number): Generator<Program> {
    let links = this.#effective.get(attachType);
    if (!links) {
      links = this.#collect(attachType);
      this.#effective.set(attachType, links);
    }
    for (const link of links) yield link.program.program;
  }

  #collect(attachType: number): readonly LinkObject[] {
    const own = this.#links.filter((link) => link.attachType === attachType);
    return this.#parent ? [...own, ...this.#parent.#collect(attachType)] : own;
  }

  #forget(): void {
    this.#effective.clear();
    for (const child of this.#children) child.#forget();
  }
}
