import { BatchError } from '@heddle/ebpf';
import type { ServiceRow } from '@heddle/services';
import { SysError } from '@heddle/sys';
import { keyBytes, NoRoom } from '../core/keyed-map.ts';
import { protocolNumbers } from '../core/protocols.ts';
import type { SourceRangesScope } from '../datapath-options.ts';
import { encodeService, serviceFlags, serviceKeySize, serviceSize } from '../generated/abi.ts';
import { AddressFilter } from './address-filter.ts';
import { AddressRoles } from './address-roles.ts';
import { BackendTable } from './backend-table.ts';
import { Extents } from './extents.ts';
import type { FrontendRoom } from './frontend-room.ts';
import {
  allBackends,
  allFrontends,
  type Entry,
  type FrontendEntry,
  frontendChanges,
  type Plan,
  type Programmed,
  rangedFlags,
  sameEntry,
} from './service-plan.ts';
import type { ServiceStore } from './service-store.ts';

export interface ServiceWriterOptions {
  /** Monotonic clock in nanoseconds. */
  readonly now: () => bigint;
  readonly sourceRanges: SourceRangesScope;
  readonly room: FrontendRoom;
  /** Called when sockets may be connected to a removed backend. */
  readonly onStaleSockets: (protocol: ServiceRow['protocol']) => void;
}

/**
 * Writes plans into the maps of services: `prepare` what no lookup finds yet, `publish` frontends, then `commit`, or
 * `rollBack` when that failed. Each frontend is switched by one update, so that a connection sees the old
 * backends or the new ones.
 */
export class ServiceWriter {
  readonly #store: ServiceStore;
  readonly #room: FrontendRoom;
  readonly #onStaleSockets: ServiceWriterOptions['onStaleSockets'];
  /** Flags of frontends that loadBalancerSourceRanges apply to. */
  readonly #rangedFlags: number;
  readonly backends: BackendTable;
  readonly slots: Extents;
  readonly roles: AddressRoles;
  /** The entries of the map `services`, by key. */
  readonly entries = new Map<string, Entry>();
  /**
   * Plans by row that failed, and whose frontends could not all be written back: the programs may use their slots until
   * the row is programmed or removed.
   */
  readonly #halfWritten = new Map<string, readonly Plan[]>();

  constructor(store: ServiceStore, options: ServiceWriterOptions) {
    const { now, sourceRanges } = options;
    this.#store = store;
    this.#room = options.room;
    this.#onStaleSockets = options.onStaleSockets;
    this.#rangedFlags = sourceRanges === 'everywhere' ? rangedFlags : serviceFlags.sourceRanges;
    this.backends = new BackendTable(store.backends, store.backendStats, now);
    this.slots = new Extents(store.slots.length, now);
    this.roles = new AddressRoles(store.addresses, new AddressFilter(store.addressFilter));
  }

  /** Writes the plan's backends and slots. */
  prepare({ row, entry, newBackends, changedBackends, slots }: Plan): void {
    for (const { id, backend } of newBackends) {
      this.backends.create(id, entry.id, row.protocol, backend);
    }
    // The present slots may have a backend that is to be drained.
    for (const { id, backend } of changedBackends) {
      if (backend.state === 'active') this.backends.amend(id, backend);
    }
    if (slots) this.#store.slots.write(entry.firstSlot, slots);
  }

  /**
   * Makes plans visible: addresses first, then new frontends, then those that change. Throws NoRoom, SysError; then it
   * has written the frontends back, as far as that did not fail, too.
   */
  publish(plans: readonly Plan[]): void {
    const { added, changed } = frontendChanges(plans, this.entries, this.#rangedFlags);
    this.#room.reserve(this.entries.size + added.length, this.#store.services.info.maxEntries);
    const addresses = plans.flatMap((plan) => plan.addresses);
    this.roles.add(addresses);
    const before = changed.map(({ key }) => ({ key, entry: this.entries.get(key)! }));
    try {
      this.#write(added);
      this.#write(changed);
    } catch (error) {
      this.#undo(added, before);
      this.roles.drop(addresses);
      throw this.#asFull(error);
    }
  }

  /** Removes what a published plan replaced. Throws SysError. */
  commit(plan: Plan): void {
    const { row, before, changedBackends } = plan;
    for (const { id, backend } of changedBackends) this.backends.amend(id, backend);
    const kept = allFrontends(plan);
    if (before) {
      this.#deleteFrontends(before, kept);
      if (plan.slots) this.slots.release(before.entry.firstSlot, before.entry.slotCount);
      const keptBackends = new Set(allBackends(plan));
      this.removeBackends(allBackends(before).filter((id) => !keptBackends.has(id)));
      this.roles.drop(before.addresses);
    }
    this.#releaseHalfWritten(row.key, kept);
  }

  /** Releases what a plan that could not be published has taken, and changes backends back. */
  rollBack(plan: Plan): void {
    const { row, entry, newBackends, changedBackends, slots } = plan;
    if (slots && this.#isVisible(plan)) {
      this.#halfWritten.set(row.key, [...(this.#halfWritten.get(row.key) ?? []), plan]);
      return;
    }
    if (slots) this.slots.release(entry.firstSlot, entry.slotCount);
    for (const { id } of newBackends) this.backends.remove(id);
    for (const { id, before } of changedBackends) this.backends.amend(id, before);
  }

  /** Deletes the frontends of a row. Throws SysError; then it can be repeated. */
  deleteRow(rowKey: string, programmed: Programmed | undefined): void {
    if (programmed) this.#deleteFrontends(programmed, []);
    this.#releaseHalfWritten(rowKey, []);
  }

  /** Releases everything of a row whose frontends are deleted. Throws SysError. */
  release(programmed: Programmed): void {
    this.slots.release(programmed.entry.firstSlot, programmed.entry.slotCount);
    this.removeBackends(allBackends(programmed));
    this.roles.drop(programmed.addresses);
  }

  /** Deletes frontends but those in `kept` and those that another service has taken over. Throws SysError. */
  #deleteFrontends(programmed: Programmed, kept: readonly string[]): void {
    for (const key of allFrontends(programmed)) {
      if (kept.includes(key) || this.entries.get(key)?.id !== programmed.entry.id) continue;
      this.deleteFrontend(key);
    }
  }

  /** Deletes an entry of the map `services`. Throws SysError. */
  deleteFrontend(key: string): void {
    const bytes = new Uint8Array(serviceKeySize);
    keyBytes(key, bytes, 0);
    this.#store.services.delete(bytes);
    this.entries.delete(key);
  }

  /** Removes backends and reports the protocols whose connected sockets may now be stale. */
  removeBackends(ids: readonly number[]): void {
    const protocols = new Set<number>();
    for (const id of ids) {
      protocols.add(this.backends.read(id).protocol);
      this.backends.remove(id);
    }
    if (protocols.has(protocolNumbers.TCP)) this.#onStaleSockets('TCP');
    if (protocols.has(protocolNumbers.UDP)) this.#onStaleSockets('UDP');
  }

  #write(pairs: readonly FrontendEntry[]): void {
    if (pairs.length === 0) return;
    const keys = new Uint8Array(pairs.length * serviceKeySize);
    const values = new Uint8Array(pairs.length * serviceSize);
    pairs.forEach(({ key, entry }, i) => {
      keyBytes(key, keys, i * serviceKeySize);
      encodeService({ ...entry, cursor: 0 }, values, i * serviceSize);
    });
    let done = pairs.length;
    try {
      this.#store.services.updateBatch(keys, values, pairs.length);
    } catch (error) {
      done = error instanceof BatchError ? error.done : 0;
      throw error;
    } finally {
      for (const { key, entry } of pairs.slice(0, done)) this.entries.set(key, entry);
    }
  }

  /** Deletes what was added and writes back what was changed. What fails stays as `entries` has it. */
  #undo(added: readonly FrontendEntry[], before: readonly FrontendEntry[]): void {
    for (const { key } of added) if (this.entries.has(key)) this.deleteFrontend(key);
    const written = before.filter(({ key, entry }) => !sameEntry(this.entries.get(key)!, entry));
    try {
      this.#write(written);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
    }
  }

  /** Returns true when a frontend leads to the plan's slots. */
  #isVisible(plan: Plan): boolean {
    const { id, firstSlot, slotCount } = plan.entry;
    return allFrontends(plan).some((key) => {
      const entry = this.entries.get(key);
      return entry?.id === id && entry.firstSlot === firstSlot && entry.slotCount === slotCount;
    });
  }

  #releaseHalfWritten(rowKey: string, kept: readonly string[]): void {
    for (const plan of this.#halfWritten.get(rowKey) ?? []) {
      this.#deleteFrontends(plan, kept);
      this.slots.release(plan.entry.firstSlot, plan.entry.slotCount);
      this.removeBackends(plan.newBackends.map(({ id }) => id));
    }
    this.#halfWritten.delete(rowKey);
  }

  #asFull(error: unknown): unknown {
    if (!(error instanceof SysError) || error.code !== 'E2BIG') return error;
    const { maxEntries } = this.#store.services.info;
    return new NoRoom('services', maxEntries, this.#room.setting, this.#room.problem);
  }
}
