import { errno, SysError } from '@heddle/sys';
import type { VmObject } from './objects.ts';

/** The standard streams have the lower numbers. */
const FIRST = 3;

/** Open descriptors, each with an object. */
export class Descriptors {
  readonly #objects = new Map<number, VmObject>();
  #next = FIRST;

  /** Opens a descriptor of an object and returns its number. */
  open(object: VmObject): number {
    while (this.#objects.has(this.#next)) this.#next++;
    const fd = this.#next++;
    this.#objects.set(fd, object.retainForUser());
    return fd;
  }

  /** Returns the object of a descriptor if it is of the given class. */
  get(fd: number): VmObject | undefined {
    return this.#objects.get(fd);
  }

  /** Returns the object of a descriptor. Throws SysError (EBADF: no descriptor, EINVAL: another class). */
  want<Kind extends VmObject>(fd: number, type: abstract new (...args: never[]) => Kind): Kind {
    const object = this.#objects.get(fd);
    if (object instanceof type) return object;
    throw new SysError('bpf', object ? errno.EINVAL : errno.EBADF, `use descriptor ${fd}`);
  }

  /** Returns false when there is no such descriptor. */
  close(fd: number): boolean {
    const object = this.#objects.get(fd);
    if (!object) return false;
    this.#objects.delete(fd);
    this.#next = Math.min(this.#next, fd);
    object.releaseForUser();
    return true;
  }

  /** The number of open descriptors. */
  get count(): number {
    return this.#objects.size;
  }
}
