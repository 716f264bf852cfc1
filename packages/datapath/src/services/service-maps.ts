import { familyOf, isLoopback, unspecifiedAddress } from '@heddle/objects';
import type { ServiceRow } from '@heddle/services';
import type { Operations } from '@heddle/state';
import { parseIp } from '@heddle/sys';
import { keyText } from '../core/keyed-map.ts';
import type { SourceRangesScope } from '../datapath-options.ts';
import { serviceScope } from '../generated/abi.ts';
import type { AddressRoles } from './address-roles.ts';
import type { BackendCounters, TrafficTotals } from './backend-table.ts';
import { frontendKey } from './frontend-keys.ts';
import { FrontendRoom } from './frontend-room.ts';
import { ServiceAdoption } from './service-adoption.ts';
import {
  allBackends,
  allFrontends,
  type Entry,
  isInheriting,
  type Plan,
  type PlanContext,
  type Programmed,
  planService,
  sameEntry,
  servesMore,
} from './service-plan.ts';
import type { ServiceStore } from './service-store.ts';
import { ServiceWriter } from './service-writer.ts';

export interface ServiceMapsOptions {
  /** Monotonic clock in nanoseconds. */
  readonly now: () => bigint;
  /**
   * Called when sockets may be connected to what a socket that connects now would not get: to a removed backend, or
   * to a UDP service's address from a time when it had no backends.
   */
  readonly onStaleSockets?: (protocol: ServiceRow['protocol']) => void;
  /** The default is `everywhere`. */
  readonly sourceRanges?: SourceRangesScope;
  /** Makes the maps of frontends larger, for that number of entries. If absent, they do not grow. */
  readonly makeRoom?: ((entries: number) => void) | undefined;
}

/**
 * Service rows in the kernel's maps. A row is planned (service-plan.ts), then written (service-writer.ts). What an
 * earlier agent programmed is adopted (service-adoption.ts), and only what differs is written.
 */
export class ServiceMaps implements Operations<ServiceRow> {
  readonly #room: FrontendRoom;
  readonly #writer: ServiceWriter;
  readonly #adoption: ServiceAdoption;
  readonly #context: PlanContext;
  readonly #onStaleSockets: (protocol: ServiceRow['protocol']) => void;
  readonly #programmed = new Map<string, Programmed>();
  /** Keys of rows by the ids of their services. */
  readonly #owners = new Map<number, string>();
  /** Rows that have what an earlier agent programmed, unchanged. */
  readonly #adopted = new Set<string>();
  /** Rows whose services choose backends by open connections. */
  readonly #countingOpen = new Set<string>();
  #nextId: number;
  #pruned = false;
  /** The number of rows that were found programmed at the start, but not as they should be. */
  repaired = 0;

  constructor(store: ServiceStore, options: ServiceMapsOptions) {
    const { now, onStaleSockets = () => {}, sourceRanges = 'everywhere' } = options;
    this.#onStaleSockets = onStaleSockets;
    this.#room = new FrontendRoom(now, options.makeRoom);
    const writer = new ServiceWriter(store, {
      now,
      sourceRanges,
      room: this.#room,
      onStaleSockets,
    });
    this.#writer = writer;
    this.#adoption = new ServiceAdoption(store, writer);
    this.#nextId = this.#adoption.highestId + 1;
    this.#context = {
      allocateService: () => this.#nextId++,
      allocateBackend: () => writer.backends.allocate(),
      releaseBackend: (id) => writer.backends.remove(id),
      allocateSlots: (count) => writer.slots.allocate(count),
      backendCapacity: writer.backends.capacity,
      slotCapacity: writer.slots.size,
      endpoint: (id) => writer.backends.endpoint(id),
      backend: (id) => writer.backends.asBackend(id),
      isUpToDate: (id, backend) => writer.backends.isUpToDate(id, backend),
      hasSlots: (first, ids) => store.slots.holds(first, ids),
      serviceAt: (key) => writer.entries.get(key)?.id,
      keepsInherited: () => !this.#pruned,
    };
  }

  /** The number of entries of each map. */
  get size() {
    const { entries, backends, slots, roles } = this.#writer;
    return {
      services: entries.size,
      backends: backends.used,
      slots: slots.used,
      addresses: roles.size,
    };
  }

  /** The roles of addresses; the node's own addresses share their map. */
  get roles(): AddressRoles {
    return this.#writer.roles;
  }

  /** True when the map has no frontends: neither an earlier agent's nor those of rows. */
  get isEmpty(): boolean {
    return this.#writer.entries.size === 0;
  }

  /** The reason why the map of frontends could not be made larger. It is undefined if no attempt has failed. */
  get growthProblem(): string | undefined {
    return this.#room.problem;
  }

  update(rows: readonly ServiceRow[]): readonly (Error | undefined)[] {
    const errors: (Error | undefined)[] = rows.map(() => undefined);
    const plans: { plan: Plan; index: number }[] = [];
    rows.forEach((row, index) => {
      try {
        plans.push({ plan: this.#prepare(row), index });
      } catch (error) {
        errors[index] = error as Error;
      }
    });
    try {
      this.#writer.publish(plans.map(({ plan }) => plan));
    } catch {
      // One of the rows failed, and the error of a batch doesn't name it: they are written one by one.
      for (const { plan, index } of plans) errors[index] = this.#publish(plan);
    }
    for (const { plan, index } of plans) if (!errors[index]) this.#commit(plan);
    return errors;
  }

  remove(keys: readonly string[]): readonly (Error | undefined)[] {
    return keys.map((key) => {
      const programmed = this.#programmed.get(key);
      try {
        this.#writer.deleteRow(key, programmed);
        if (!programmed) return undefined;
        this.#programmed.delete(key);
        this.#countingOpen.delete(key);
        this.#adopted.delete(key);
        this.#owners.delete(programmed.entry.id);
        this.#writer.release(programmed);
        return undefined;
      } catch (error) {
        return error as Error;
      }
    });
  }

  prune(desired: Iterable<ServiceRow>): void {
    const inheriting: ServiceRow[] = [];
    for (const row of desired) {
      // A row that failed keeps what was programmed for it before.
      const programmed = this.#programmedFor(row);
      if (programmed && !this.#adopted.has(row.key) && isInheriting(programmed)) {
        inheriting.push(row);
      }
    }
    this.#pruned = true;
    this.#adoption.prune((key, entry) => this.#isProgrammed(key, entry));
    // An adopted row that failed counts no uses of addresses.
    if (this.#adopted.size === 0) this.roles.prune();
    // Programs the rows without what they had inherited.
    for (const error of this.update(inheriting)) if (error) throw error;
  }

  /**
   * Deletes the frontends at an address and port of TCP, for sockets and packets, unless the address is a ClusterIP.
   * No row may ask for them; an earlier agent may have programmed them. Throws SysError.
   */
  dropFrontend(address: string, port: number): void {
    const addresses = isLoopback(address)
      ? [address, unspecifiedAddress(familyOf(address))]
      : [address];
    for (const each of addresses) {
      if (this.roles.isService(keyText(parseIp(each)!))) continue;
      for (const scope of [serviceScope.internal, serviceScope.external]) {
        const frontend = { kind: 'ExternalIP', address: each, port, protocol: 'TCP' } as const;
        const key = frontendKey(frontend, scope);
        if (this.#writer.entries.has(key)) this.#writer.deleteFrontend(key);
      }
    }
  }

  /** True when a service chooses backends by open connections. */
  get countsOpen(): boolean {
    return this.#countingOpen.size > 0;
  }

  /** Returns the counters of a row's backends, or undefined if the row is not programmed. */
  backendCounters(key: string): BackendCounters[] | undefined {
    return this.#programmed.get(key)?.backendIds.map((id) => this.#writer.backends.counters(id));
  }

  get totals(): TrafficTotals {
    return this.#writer.backends.totals();
  }

  /** Returns the key of the row that has a service, or undefined if no row has claimed the service. */
  keyOf(id: number): string | undefined {
    return this.#owners.get(id);
  }

  /** Returns the id of a row's service, or undefined if the row is not programmed. */
  idOf(key: string): number | undefined {
    return this.#programmed.get(key)?.entry.id;
  }

  /** Returns true when a service with that id is programmed. */
  hasId(id: number): boolean {
    return this.#owners.has(id) || this.#adoption.has(id);
  }

  /** Returns what is programmed of a row, or what an earlier agent left for it, which the row claims. */
  #programmedFor(row: ServiceRow): Programmed | undefined {
    const known = this.#programmed.get(row.key);
    if (known) return known;
    const claimed = this.#adoption.claim(row, (id) => this.#owners.has(id));
    if (!claimed) return undefined;
    this.#owners.set(claimed.entry.id, row.key);
    this.#programmed.set(row.key, claimed);
    this.#adopted.add(row.key);
    return claimed;
  }

  #isProgrammed(key: string, entry: Entry): boolean {
    const owner = this.#owners.get(entry.id);
    return owner !== undefined && allFrontends(this.#programmed.get(owner)!).includes(key);
  }

  /** Plans a row and writes what no lookup finds yet. Throws NoRoom, Error; then nothing is allocated. */
  #prepare(row: ServiceRow): Plan {
    const plan = planService(row, this.#programmedFor(row), this.#context);
    try {
      this.#writer.prepare(plan);
      return plan;
    } catch (error) {
      this.#writer.rollBack(plan);
      throw error;
    }
  }

  /** Returns the error that a plan could not be published for; then it is rolled back. */
  #publish(plan: Plan): Error | undefined {
    try {
      this.#writer.publish([plan]);
      return undefined;
    } catch (error) {
      this.#writer.rollBack(plan);
      return error as Error;
    }
  }

  #commit(plan: Plan): void {
    const { row, before, entry, frontends, backendIds, addresses, inherited } = plan;
    if (this.#adopted.delete(row.key) && before && !isSame(before, plan)) this.repaired++;
    this.#writer.commit(plan);
    if (row.protocol === 'UDP' && servesMore(plan)) this.#onStaleSockets('UDP');
    if (row.algorithm === 'least-connections') this.#countingOpen.add(row.key);
    else this.#countingOpen.delete(row.key);
    this.#owners.set(entry.id, row.key);
    this.#programmed.set(row.key, { entry, frontends, backendIds, addresses, inherited });
  }
}

/** Returns true when a plan changes nothing of what an earlier agent programmed. */
function isSame(before: Programmed, plan: Plan): boolean {
  return (
    allBackends(before).length === allBackends(plan).length &&
    allFrontends(before).length === allFrontends(plan).length &&
    sameEntry(before.entry, plan.entry) &&
    plan.newBackends.length === 0
  );
}
