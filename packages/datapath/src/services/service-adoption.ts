import type { ServiceRow } from '@heddle/services';
import { keyText } from '../core/keyed-map.ts';
import { decodeService, type ServiceFlags } from '../generated/abi.ts';
import { frontendKeys } from './frontend-keys.ts';
import { type Entry, type Programmed, rangedFlags, unknownSlots } from './service-plan.ts';
import type { ServiceStore } from './service-store.ts';
import type { ServiceWriter } from './service-writer.ts';

/**
 * The services that an earlier agent programmed, until rows claim them: a row finds its service by its frontends. What
 * no row has claimed when all rows are known is removed.
 */
export class ServiceAdoption {
  readonly #writer: ServiceWriter;
  /** Keys of the map `services`, by service id. */
  readonly #frontends = new Map<number, string[]>();
  /** Backends by service. */
  readonly #backends: Map<number, number[]>;
  /** Slot ranges: the number of slots by the first one. */
  readonly #slots = new Map<number, number>();
  /** The highest id that a service had. */
  readonly highestId: number;

  /** Reserves the numbers of what `store` has, and enters its frontends in the writer's entries. */
  constructor(store: ServiceStore, writer: ServiceWriter) {
    this.#writer = writer;
    this.#backends = writer.backends.adopt();
    let highest = writer.backends.highestService();
    for (const [key, value] of store.services.entries()) {
      const { cursor: _, ...entry } = decodeService(value, 0);
      const text = keyText(key);
      writer.entries.set(text, this.#reserveSlots(entry) ? entry : { ...entry, ...unknownSlots });
      const found = this.#frontends.get(entry.id);
      if (found) found.push(text);
      else this.#frontends.set(entry.id, [text]);
      if (entry.id > highest) highest = entry.id;
    }
    this.highestId = highest;
  }

  /** Returns true when an earlier agent programmed a service with that id, until `prune`. */
  has(id: number): boolean {
    return this.#frontends.has(id);
  }

  /**
   * Returns the entries of an earlier agent for a row, or undefined. `isClaimed` returns true for a service
   * that another row has.
   */
  claim(row: ServiceRow, isClaimed: (id: number) => boolean): Programmed | undefined {
    if (this.#frontends.size === 0) return undefined;
    for (const key of frontendKeys(row)) {
      const entry = this.#writer.entries.get(key);
      if (!entry || isClaimed(entry.id)) continue;
      const hasSlots = this.#slots.delete(entry.firstSlot) || entry.slotCount === 0;
      const common = { ...entry, flags: (entry.flags & ~rangedFlags) as ServiceFlags };
      const backendIds = this.#backends.get(entry.id) ?? [];
      this.#backends.delete(entry.id);
      return {
        entry: hasSlots ? common : { ...common, ...unknownSlots },
        frontends: [],
        backendIds: [],
        addresses: [],
        inherited: { frontends: this.#frontends.get(entry.id) ?? [], backendIds },
      };
    }
    return undefined;
  }

  /** Removes what no row has claimed; `isProgrammed` returns true for the frontends of rows. Throws SysError. */
  prune(isProgrammed: (key: string, entry: Entry) => boolean): void {
    this.#frontends.clear();
    for (const [key, entry] of this.#writer.entries) {
      if (!isProgrammed(key, entry)) this.#writer.deleteFrontend(key);
    }
    for (const [first, count] of this.#slots) this.#writer.slots.release(first, count);
    this.#slots.clear();
    for (const ids of this.#backends.values()) this.#writer.removeBackends(ids);
    this.#backends.clear();
  }

  /** Reserves an entry's slot range. Returns false when it overlaps another one or the end of the map. */
  #reserveSlots({ firstSlot, slotCount }: Entry): boolean {
    if (slotCount === 0) return firstSlot === 0;
    const known = this.#slots.get(firstSlot);
    if (known !== undefined) return known === slotCount;
    if (!this.#writer.slots.reserve(firstSlot, slotCount)) return false;
    this.#slots.set(firstSlot, slotCount);
    return true;
  }
}
