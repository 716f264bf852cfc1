import type { LinkCreateOptions } from '@heddle/ebpf';
import { errno, SysError } from '@heddle/sys';
import { type ProgramObject, VmObject } from './objects.ts';

/** The target of attachments: a cgroup, a network interface, an iterator's target. */
export interface AttachPoint {
  /** BPF_LINK_TYPE_*. */
  readonly linkType: number;
  /** Adds a link at the position in the flags (BPF_F_*). Throws SysError. */
  attach(link: LinkObject, flags: number): void;
  detach(link: LinkObject): void;
  /** Writes the part of struct bpf_link_info from offset 16 on. */
  describe(info: DataView, link: LinkObject): void;
}

/** The attachment of a program. It ends when nothing refers to the link. */
export class LinkObject extends VmObject {
  readonly attachType: number;
  readonly point: AttachPoint;
  #program: ProgramObject;
  #attached = false;
  readonly #onDestroy: (object: VmObject) => void;

  constructor(
    id: number,
    program: ProgramObject,
    { attachType, flags = 0 }: LinkCreateOptions,
    point: AttachPoint,
    onDestroy: (object: VmObject) => void,
  ) {
    super('link', id);
    this.attachType = attachType;
    point.attach(this, flags);
    this.#attached = true;
    this.#program = program.retain();
    this.point = point;
    this.#onDestroy = onDestroy;
  }

  get program(): ProgramObject {
    return this.#program;
  }

  get isAttached(): boolean {
    return this.#attached;
  }

  /** BPF_LINK_UPDATE. */
  replace(program: ProgramObject): void {
    if (!this.#attached) throw new SysError('bpf', errno.ENOLINK, 'update link');
    if (program.program.type !== this.#program.program.type) {
      throw new SysError('bpf', errno.EINVAL, 'update link');
    }
    program.retain();
    this.#program.release();
    this.#program = program;
  }

  /** BPF_LINK_DETACH; also called when the target is removed. */
  detach(): void {
    if (!this.#attached) return;
    this.#attached = false;
    this.point.detach(this);
  }

  protected override destroy(): void {
    this.detach();
    this.#program.release();
    this.#onDestroy(this);
  }
}
