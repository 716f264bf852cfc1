import { errno } from '@heddle/sys';
import { VmMap } from './map.ts';

interface Element {
  readonly bytes: Uint8Array;
  readonly region: number;
}

/** BPF_SK_STORAGE_GET_F_CREATE. */
const CREATE = 1;

/** A value for each socket, which lives as long as the socket does. */
export class StorageMap extends VmMap {
  readonly #elements = new Map<object, Element>();

  /** Region of the socket's value; 0: none. `initial` is what a new value begins as. */
  get(socket: object, flags: number, initial: Uint8Array | undefined): number {
    const found = this.#elements.get(socket);
    if (found) return found.region;
    if (!(flags & CREATE)) return 0;
    const bytes = new Uint8Array(this.options.valueSize);
    if (initial) bytes.set(initial);
    const owner = { kind: 'map-value', map: this.options.name } as const;
    const region = this.machine.memory.add(owner, bytes);
    this.#elements.set(socket, { bytes, region });
    return region;
  }

  /** Removes a socket's value. 0 or -errno. */
  forget(socket: object): number {
    const found = this.#elements.get(socket);
    if (!found) return -errno.ENOENT;
    this.#elements.delete(socket);
    if (this.machine.isRunning) this.machine.memory.retire(found.region);
    else this.machine.memory.remove(found.region);
    return 0;
  }

  /** The sockets that have a value, and its region. */
  *entries(): Generator<[socket: object, region: number]> {
    for (const [socket, { region }] of this.#elements) yield [socket, region];
  }

  override dispose(): void {
    for (const { region } of this.#elements.values()) this.machine.memory.remove(region);
    super.dispose();
  }
}
