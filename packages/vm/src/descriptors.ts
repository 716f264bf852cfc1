import { errno, SysError } from '@heddle/sys';
import type { VmObject } from './objects.ts';

/** Standard streams have the numbers below. */
const FIRST = 3;

/** Open descriptors, each of which holds an object. */
export class Descriptors {
  readonly #objects = new Map<number, VmObject>();
  #next = FIRST;

  /** Opens a descriptor of an object. */
  open(object: VmObject): number {
    while (this.#objects.has(this.#next)) this.#next++;
    const fd = this.#next++;
    this.#objects.set(fd, object.retainForUser());
    return fd;
  }

  /** The object behind a descriptor, of a class if one is given; undefined for others. */
  get(fd: number): VmObject | undefined {
    return this.#objects.get(fd);
  }

  /** The same, where another thing is an error. Throws SysError (EBADF, EINVAL). */
  want<Kind extends VmObject>(fd: number, type: abstract new (...args: never[]) => Kind): Kind {
    const object = this.#objects.get(fd);
    if (object instanceof type) return object;
    throw new SysError('bpf', object ? errno.EINVAL : errno.EBADF, `use descriptor ${fd}`);
  }

  /** False when there is no such descriptor. */
  close(fd: number): boolean {
    const object = this.#objects.get(fd);
    if (!object) return false;
    this.#objects.delete(fd);
    this.#next = Math.min(this.#next, fd);
    object.releaseForUser();
    return true;
  }

  /** How many are open. */
  get count(): number {
    return this.#objects.size;
  }
}
