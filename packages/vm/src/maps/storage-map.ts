import { errno } from '@heddle/sys';
import { VmMap } from './map.ts';

interface Element {
  readonly bytes: Uint8Array;
  readonly region: number;
}

/** BPF_SK_STORAGE_GET_F_CREATE. */
const CREATE = 1;

/** A map with a value for each socket, until the socket is closed. */
export class StorageMap extends VmMap {
  readonly #elements = new Map<object, Element>();

  /** Returns the region of the socket's value; 0: none. `initial` has the bytes of a new value. */
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

  /** Removes a socket's value. Returns 0 or -errno. */
  forget(socket: object): number {
    const found = this.#elements.get(socket);
    if (!found) return -errno.ENOENT;
    this.#elements.delete(socket);
    if (this.machine.isRunning) this.machine.memory.retire(found.region);
    else this.machine.memory.remove(found.region);
    return 0;
  }

  /** Returns the sockets with a value, and its region. */
  *entries(): Generator<[socket: object, region: number]> {
    for (const [socket, { region }] of this.#elements) yield [socket, region];
  }

  override dispose(): void {
    for (const { region } of this.#elements.values()) this.machine.memory.remove(region);
    super.dispose();
  }
}
