import { compactList, familyOf, isLoopback, isUnspecified, unspecifiedOf } from '@heddle/objects';
import type { Backend, Frontend, ServiceRow } from '@heddle/services';
import type { Operations } from '@heddle/state';
import { parseIp, SysError } from '@heddle/sys';
import { keyBytes, keyText, MapFull, type ServiceStore } from '../core/store.ts';
import type { SourceRangesHold } from '../datapath-options.ts';
import {
  addressKeySize,
  decodeService,
  encodeService,
  encodeServiceKey,
  type ServiceAlgorithm,
  type ServiceFlags,
  type ServiceScope,
  serviceAlgorithm,
  serviceFlags,
  serviceKeySize,
  serviceScope,
  serviceSize,
} from '../generated/abi.ts';
import { AddressFilter } from './address-filter.ts';
import { AddressRoles, type AddressUse } from './address-roles.ts';
import {
  type BackendCounters,
  BackendTable,
  endpointText,
  protocolNumbers,
  type TrafficTotals,
} from './backend-table.ts';
import { Extents } from './extents.ts';
import { slotsOf } from './slots.ts';

/** What the kernel's `services` map says of a frontend, the round-robin cursor left out. */
interface Entry {
  readonly id: number;
  readonly firstSlot: number;
  readonly slotCount: number;
  readonly affinitySeconds: number;
  readonly algorithm: ServiceAlgorithm;
  readonly flags: ServiceFlags;
}

/** What of a row is in force. */
interface Held {
  readonly entry: Entry;
  /** Keys in the `services` map. */
  readonly frontends: readonly string[];
  readonly backendIds: readonly number[];
  /** Addresses in the `addresses` map. */
  readonly addresses: readonly AddressUse[];
  readonly spared: Spared;
}

/**
 * What an earlier agent left for a row and the row doesn't ask for. It stays in force until
 * everything is known: the object that asks for it may be in a file that is broken now.
 */
interface Spared {
  readonly frontends: readonly string[];
  readonly backendIds: readonly number[];
}

const nothingSpared: Spared = { frontends: [], backendIds: [] };

/** What it takes to bring a row into force; nothing of it is visible to the kernel's lookups yet. */
interface Plan extends Held {
  readonly row: ServiceRow;
  /** The frontends that do not serve every client. */
  readonly ranged: readonly string[];
  readonly before: Held | undefined;
  readonly newBackendIds: readonly number[];
  readonly newRun: boolean;
}

const algorithms: Readonly<Record<ServiceRow['algorithm'], ServiceAlgorithm>> = {
  random: serviceAlgorithm.random,
  weighted: serviceAlgorithm.random,
  'round-robin': serviceAlgorithm.roundRobin,
  'least-connections': serviceAlgorithm.leastConnections,
  maglev: serviceAlgorithm.hash,
};

const none: readonly never[] = [];

/** Flags that a frontend has by itself, not by its row. */
const anyRanged = serviceFlags.sourceRanges | serviceFlags.internalSourceRanges;

/** Share of the map of frontends from which on a larger one is made, before it is full. */
const nearlyFull = 0.875;
/** Programs are loaded for a larger map: what has failed is not tried again at once. */
const roomRetryNs = 60_000_000_000n;

/** In place of a run that another service has, or that isn't one; equals no run that is written. */
const noRun = { firstSlot: 0xffffffff, slotCount: 0 } as const;

/**
 * Service rows in the kernel's maps. To change a service, its backends and a new run of slots are
 * written first, then each frontend is switched with one update: a connection sees the old set or
 * the new one. What a previous agent left is adopted: a row finds its service by its frontends, and
 * only what differs is written.
 */
export class ServiceMaps implements Operations<ServiceRow> {
  private readonly store: ServiceStore;
  /** Makes the maps of frontends larger, for so many entries. Absent: they stay as they are. */
  makeRoom: ((entries: number) => void) | undefined;
  /** The reason why the last attempt to enlarge the maps failed, and the time of the next one. */
  private roomProblem: { readonly message: string; readonly untilNs: bigint } | undefined;
  private readonly now: () => bigint;
  private readonly backends: BackendTable;
  private readonly runs: Extents;
  /** Shared with the node's own addresses. */
  readonly roles: AddressRoles;
  private readonly held = new Map<string, Held>();
  /** What the `services` map holds, by key. */
  private readonly entries = new Map<string, Entry>();
  /** Service ids that rows hold, and the rows. */
  private readonly owners = new Map<number, string>();
  /** Of what was found at the start: backends by service and runs that no row has claimed yet. */
  private readonly unclaimed: Map<number, number[]>;
  private readonly unclaimedRuns = new Map<number, number>();
  /** Keys of what was found in the `services` map, by service id. */
  private readonly foundFrontends = new Map<number, string[]>();
  private pruned = false;
  /** Rows whose services choose by open connections. */
  private readonly countingOpen = new Set<string>();
  /** Rows that hold what was found at the start, as it was. */
  private readonly adopted = new Set<string>();
  private nextId: number;
  private readonly onStaleSockets: (protocol: ServiceRow['protocol']) => void;
  /** Rows that were found in force at the start, but not as they should be. */
  repaired = 0;
  /** Flags of a frontend with source ranges. */
  private readonly rangedFlags: number;

  /**
   * `now` is a monotonic clock in nanoseconds; `onStaleSockets` is called when sockets can be connected to what a
   * socket that connects now would not get: to a removed backend, or to a UDP service's address from a time
   * when it had no backends.
   */
  constructor(
    store: ServiceStore,
    now: () => bigint,
    onStaleSockets: (protocol: ServiceRow['protocol']) => void = () => {},
    sourceRanges: SourceRangesHold = 'everywhere',
  ) {
    this.store = store;
    this.now = now;
    this.rangedFlags =
      sourceRanges === 'everywhere'
        ? serviceFlags.sourceRanges | serviceFlags.internalSourceRanges
        : serviceFlags.sourceRanges;
    this.onStaleSockets = onStaleSockets;
    this.backends = new BackendTable(store.backends, store.backendStats, now);
    this.runs = new Extents(store.slots.length, now);
    this.roles = new AddressRoles(store.addresses, new AddressFilter(store.addressFilter));
    this.unclaimed = this.backends.adopt();
    let highest = this.backends.highestService();
    for (const [key, value] of store.services.entries()) {
      const { cursor: _, ...entry } = decodeService(value, 0);
      const text = keyText(key);
      this.entries.set(text, this.takesRun(entry) ? entry : { ...entry, ...noRun });
      const found = this.foundFrontends.get(entry.id);
      if (found) found.push(text);
      else this.foundFrontends.set(entry.id, [text]);
      if (entry.id > highest) highest = entry.id;
    }
    this.nextId = highest + 1;
  }

  get size() {
    return {
      services: this.entries.size,
      backends: this.backends.used,
      slots: this.runs.used,
      addresses: this.roles.size,
    };
  }

  /** Whether a previous agent's services were there at the start or rows have come since. */
  get isEmpty(): boolean {
    return this.entries.size === 0;
  }

  update(rows: readonly ServiceRow[]): readonly (Error | undefined)[] {
    const errors: (Error | undefined)[] = rows.map(() => undefined);
    const plans: { plan: Plan; index: number }[] = [];
    rows.forEach((row, index) => {
      try {
        plans.push({ plan: this.plan(row), index });
      } catch (error) {
        errors[index] = error as Error;
      }
    });
    try {
      this.publish(plans.map(({ plan }) => plan));
    } catch {
      // One of the rows has no room, and the batch doesn't say which: one by one, then.
      for (const { plan, index } of plans) {
        try {
          this.publish([plan]);
        } catch (error) {
          this.abandon(plan);
          errors[index] = error as Error;
        }
      }
    }
    for (const { plan, index } of plans) if (!errors[index]) this.settle(plan);
    return errors;
  }

  remove(keys: readonly string[]): readonly (Error | undefined)[] {
    return keys.map((key) => {
      const held = this.held.get(key);
      if (!held) return undefined;
      try {
        this.deleteFrontends(held, undefined);
        this.held.delete(key);
        this.countingOpen.delete(key);
        this.adopted.delete(key);
        this.owners.delete(held.entry.id);
        this.runs.release(held.entry.firstSlot, held.entry.slotCount);
        this.removeBackends(allBackends(held));
        this.roles.drop(held.addresses);
        return undefined;
      } catch (error) {
        return error as Error;
      }
    });
  }

  prune(desired: Iterable<ServiceRow>): void {
    const inForce: ServiceRow[] = [];
    // A row that isn't in force yet keeps what was there for it before.
    for (const row of desired) {
      const held = this.held.get(row.key) ?? this.adopt(row, frontendKeys(row));
      if (held && !this.adopted.has(row.key)) inForce.push(row);
    }
    this.pruned = true;
    this.foundFrontends.clear();
    const deleted = new Uint8Array(serviceKeySize);
    for (const [key, entry] of this.entries) {
      if (this.isHeld(key, entry)) continue;
      keyBytes(key, deleted, 0);
      this.store.services.delete(deleted);
      this.entries.delete(key);
    }
    for (const [first, count] of this.unclaimedRuns) this.runs.release(first, count);
    this.unclaimedRuns.clear();
    for (const ids of this.unclaimed.values()) this.removeBackends(ids);
    this.unclaimed.clear();
    // An adopted row that failed counts no addresses of its own.
    if (this.adopted.size === 0) this.roles.prune();
    // The rows themselves, without what they were spared.
    const errors = this.update(inForce.filter(({ key }) => isSpared(this.held.get(key)!)));
    for (const error of errors) if (error) throw error;
  }

  /**
   * Deletes what is programmed at an address and port of TCP, for sockets and packets, unless the address is
   * a ClusterIP. No row may ask for it; an earlier agent may have left it. Throws SysError.
   */
  dropFrontend(address: string, port: number): void {
    const places = isLoopback(address) ? [address, unspecifiedOf(familyOf(address))] : [address];
    for (const place of places) {
      if (this.roles.isService(keyText(parseIp(place)!))) continue;
      for (const scope of [serviceScope.internal, serviceScope.external]) {
        const key = frontendKey(
          { kind: 'ExternalIP', address: place, port, protocol: 'TCP' },
          scope,
        );
        if (!this.entries.has(key)) continue;
        const bytes = new Uint8Array(serviceKeySize);
        keyBytes(key, bytes, 0);
        this.store.services.delete(bytes);
        this.entries.delete(key);
      }
    }
  }

  /** True when a service chooses by open connections. */
  get countsOpen(): boolean {
    return this.countingOpen.size > 0;
  }

  /** Counters of a row's backends, or undefined when the row isn't in force. */
  backendCounters(key: string): BackendCounters[] | undefined {
    return this.held.get(key)?.backendIds.map((id) => this.backends.counters(id));
  }

  get totals(): TrafficTotals {
    return this.backends.totals();
  }

  /** Key of the row that has a service, or undefined when none has claimed it. */
  keyOf(id: number): string | undefined {
    return this.owners.get(id);
  }

  /** Id of a row's service, or undefined when the row isn't in force. */
  idOf(key: string): number | undefined {
    return this.held.get(key)?.entry.id;
  }

  /** Whether a service with that id is in force. */
  hasId(id: number): boolean {
    return this.owners.has(id) || this.foundFrontends.has(id);
  }

  private isHeld(key: string, entry: Entry): boolean {
    const owner = this.owners.get(entry.id);
    return owner !== undefined && allFrontends(this.held.get(owner)!).includes(key);
  }

  private plan(row: ServiceRow): Plan {
    const frontends = frontendKeys(row);
    const before = this.held.get(row.key) ?? this.adopt(row, frontends);
    const id = before?.entry.id ?? this.nextId++;
    const newBackendIds: number[] = [];
    let run: { first: number; count: number } | undefined;
    try {
      const backendIds = this.backendIds(row, id, before, newBackendIds);
      const spared = this.spare(id, before, frontends, backendIds);
      const drawn = this.drawn(row, backendIds, spared);
      const slots = slotsOf(row.algorithm, drawn.backends, drawn.ids);
      const keepsRun =
        before?.entry.slotCount === slots.length &&
        this.store.slots.holds(before.entry.firstSlot, slots);
      if (keepsRun) {
        run = { first: before.entry.firstSlot, count: before.entry.slotCount };
      } else {
        const first = slots.length === 0 ? 0 : this.runs.allocate(slots.length);
        if (first === undefined) throw new MapFull('slots', this.runs.size, 'sizes.slots');
        run = { first, count: slots.length };
        this.store.slots.write(first, slots);
      }
      // Those that stay are in force, and are left alone as long as the row may fail.
      if (before) {
        for (const [i, id] of backendIds.entries()) this.backends.amend(id, row.backends[i]!);
      }
      return {
        row,
        before,
        frontends,
        ranged:
          row.sourceRanges.length === 0
            ? none
            : frontends.filter((_, i) => row.frontends[i]!.kind === 'LoadBalancer'),
        backendIds,
        newBackendIds,
        newRun: !keepsRun,
        addresses: addressesOf(row, frontends),
        spared,
        entry: {
          id,
          firstSlot: run.first,
          slotCount: run.count,
          affinitySeconds: row.affinitySeconds,
          algorithm: algorithms[row.algorithm],
          flags: flagsOf(row),
        },
      };
    } catch (error) {
      for (const backendId of newBackendIds) this.backends.remove(backendId);
      throw error;
    }
  }

  /** Whether the entry's run is one that can be relied on; takes it at the first sight. */
  private takesRun({ firstSlot, slotCount }: Entry): boolean {
    if (slotCount === 0) return firstSlot === 0;
    const known = this.unclaimedRuns.get(firstSlot);
    if (known !== undefined) return known === slotCount;
    if (!this.runs.reserve(firstSlot, slotCount)) return false;
    this.unclaimedRuns.set(firstSlot, slotCount);
    return true;
  }

  /** What a previous agent left in force for a row, found by the row's frontends. */
  private adopt(row: ServiceRow, frontends: readonly string[]): Held | undefined {
    for (const key of frontends) {
      const entry = this.entries.get(key);
      if (!entry || this.owners.has(entry.id)) continue;
      const claimsRun = this.unclaimedRuns.delete(entry.firstSlot);
      const common = { ...entry, flags: (entry.flags & ~anyRanged) as ServiceFlags };
      const held: Held = {
        entry: claimsRun || entry.slotCount === 0 ? common : { ...common, ...noRun },
        frontends: [],
        backendIds: [],
        addresses: [],
        spared: {
          frontends: this.foundFrontends.get(entry.id) ?? [],
          backendIds: this.unclaimed.get(entry.id) ?? [],
        },
      };
      this.unclaimed.delete(entry.id);
      this.owners.set(entry.id, row.key);
      this.held.set(row.key, held);
      this.adopted.add(row.key);
      return held;
    }
    return undefined;
  }

  /** Ids of a row's backends; those that `before` doesn't have are created, and go to `added`. */
  private backendIds(
    row: ServiceRow,
    service: number,
    before: Held | undefined,
    added: number[],
  ): readonly number[] {
    const known = new Map<string, number>();
    for (const id of before ? allBackends(before) : none) known.set(this.backends.endpoint(id), id);
    return compactList(
      row.backends.map((backend) => {
        const { address, port } = backend;
        const existing = before && known.get(endpointText(address, port, row.protocol));
        if (existing !== undefined) return existing;
        const id = this.backends.allocate();
        if (id === undefined) {
          throw new MapFull('backends', this.backends.capacity, 'sizes.backends');
        }
        added.push(id);
        this.backends.create(id, service, row.protocol, backend);
        return id;
      }),
    );
  }

  /** Backends whose ids a row's slots have: its own, and those that it was spared. */
  private drawn(row: ServiceRow, backendIds: readonly number[], { backendIds: more }: Spared) {
    if (more.length === 0) return { backends: row.backends, ids: backendIds };
    const all = [
      ...row.backends.map((backend, i) => ({ id: backendIds[i]!, backend })),
      ...more.map((id) => ({ id, backend: this.backends.asBackend(id) })),
    ];
    // In the order that the row would have them in, so that what is in force need not be written.
    all.sort((a, b) => byEndpoint(a.backend, b.backend));
    return { backends: all.map(({ backend }) => backend), ids: all.map(({ id }) => id) };
  }

  /** What the row is to be spared from now on: what is left of what it was spared before. */
  private spare(
    id: number,
    before: Held | undefined,
    frontends: readonly string[],
    backendIds: readonly number[],
  ): Spared {
    if (!before || this.pruned || !isSpared(before)) return nothingSpared;
    return {
      frontends: before.spared.frontends.filter(
        (key) => !frontends.includes(key) && this.entries.get(key)?.id === id,
      ),
      backendIds: before.spared.backendIds.filter((other) => !backendIds.includes(other)),
    };
  }

  /** Makes plans visible: addresses, then frontends that are new, then those that change. */
  private publish(plans: readonly Plan[]): void {
    const added: { key: string; entry: Entry }[] = [];
    const changed: { key: string; entry: Entry }[] = [];
    const wanted = new Set(plans.flatMap(({ frontends }) => frontends));
    for (const plan of plans) {
      for (const key of allFrontends(plan)) {
        const current = this.entries.get(key);
        // What a row is spared may be another row's by now.
        const isSpare = !plan.frontends.includes(key);
        if (isSpare && (wanted.has(key) || current?.id !== plan.entry.id)) continue;
        const isRanged = isSpare ? current!.flags & anyRanged : plan.ranged.includes(key);
        const entry = isRanged ? this.rangedEntry(plan.entry) : plan.entry;
        if (current && sameEntry(current, entry)) continue;
        (current ? changed : added).push({ key, entry });
      }
    }
    this.reserve(this.entries.size + added.length);
    this.roles.add(plans.flatMap((plan) => plan.addresses));
    try {
      this.write(added);
      this.write(changed);
    } catch (error) {
      const undone = new Uint8Array(serviceKeySize);
      for (const { key } of added) {
        keyBytes(key, undone, 0);
        this.store.services.delete(undone);
        this.entries.delete(key);
      }
      this.roles.drop(plans.flatMap((plan) => plan.addresses));
      if (error instanceof SysError && error.code === 'E2BIG') {
        const { maxEntries } = this.store.services.info;
        const setting = this.makeRoom ? 'sizes.servicesMax' : 'sizes.services';
        throw new MapFull('services', maxEntries, setting, this.roomProblem?.message);
      }
      throw error;
    }
  }

  /** Asks for larger maps when so many entries would nearly fill the map. */
  private reserve(entries: number): void {
    if (!this.makeRoom || entries <= this.store.services.info.maxEntries * nearlyFull) return;
    if (this.roomProblem && this.now() < this.roomProblem.untilNs) return;
    try {
      this.makeRoom(entries);
      this.roomProblem = undefined;
    } catch (error) {
      // Rows that fit go on being written; the others fail with this reason.
      const { message } = error as Error;
      this.roomProblem = { message, untilNs: this.now() + roomRetryNs };
    }
  }

  /** The reason why the map of frontends could not be made larger; undefined: nothing failed. */
  get growthProblem(): string | undefined {
    return this.roomProblem?.message;
  }

  private rangedEntry(entry: Entry): Entry {
    return { ...entry, flags: (entry.flags | this.rangedFlags) as ServiceFlags };
  }

  private write(pairs: readonly { key: string; entry: Entry }[]): void {
    if (pairs.length === 0) return;
    const keys = new Uint8Array(pairs.length * serviceKeySize);
    const values = new Uint8Array(pairs.length * serviceSize);
    pairs.forEach(({ key, entry }, i) => {
      keyBytes(key, keys, i * serviceKeySize);
      encodeService({ ...entry, cursor: 0 }, values, i * serviceSize);
    });
    this.store.services.updateBatch(keys, values, pairs.length);
    for (const { key, entry } of pairs) this.entries.set(key, entry);
  }

  /** The new state is in force: lets go of what it replaced. */
  private settle(plan: Plan): void {
    const { row, before, entry, frontends, backendIds, addresses, spared, newRun } = plan;
    if (this.adopted.delete(row.key) && before) {
      const sameBackends = allBackends(before).length === allBackends(plan).length;
      const sameFrontends = allFrontends(before).length === allFrontends(plan).length;
      const same = sameBackends && sameFrontends && sameEntry(before.entry, entry);
      if (!same || plan.newBackendIds.length > 0) this.repaired++;
    }
    if (before) {
      this.deleteFrontends(before, plan);
      if (newRun) this.runs.release(before.entry.firstSlot, before.entry.slotCount);
      const kept = new Set(allBackends(plan));
      this.removeBackends(allBackends(before).filter((id) => !kept.has(id)));
      this.roles.drop(before.addresses);
    }
    if (row.protocol === 'UDP' && servesMore(before, plan)) this.onStaleSockets('UDP');
    if (row.algorithm === 'least-connections') this.countingOpen.add(row.key);
    else this.countingOpen.delete(row.key);
    this.owners.set(entry.id, row.key);
    this.held.set(row.key, { entry, frontends, backendIds, addresses, spared });
  }

  /** A plan that could not be published: gives back what it took. */
  private abandon(plan: Plan): void {
    if (plan.newRun) this.runs.release(plan.entry.firstSlot, plan.entry.slotCount);
    for (const id of plan.newBackendIds) this.backends.remove(id);
  }

  /** Deletes what `held` has beyond `next`, unless another service has taken a frontend over. */
  private deleteFrontends(held: Held, next: Held | undefined): void {
    const key = new Uint8Array(serviceKeySize);
    const kept = next ? allFrontends(next) : [];
    for (const text of allFrontends(held)) {
      if (kept.includes(text) || this.entries.get(text)?.id !== held.entry.id) continue;
      keyBytes(text, key, 0);
      this.store.services.delete(key);
      this.entries.delete(text);
    }
  }

  private removeBackends(ids: readonly number[]): void {
    const protocols = new Set<number>();
    for (const id of ids) {
      protocols.add(this.backends.read(id).protocol);
      this.backends.remove(id);
    }
    if (protocols.has(protocolNumbers.TCP)) this.onStaleSockets('TCP');
    if (protocols.has(protocolNumbers.UDP)) this.onStaleSockets('UDP');
  }
}

/** True when a frontend has backends now and had none before. */
function servesMore(before: Held | undefined, { entry, frontends }: Held): boolean {
  if (entry.slotCount === 0) return false;
  if (!before || before.entry.slotCount === 0) return true;
  const served = new Set(allFrontends(before));
  return frontends.some((key) => !served.has(key));
}

function isSpared({ spared }: Held): boolean {
  return spared.frontends.length > 0 || spared.backendIds.length > 0;
}

function allFrontends({ frontends, spared }: Held): readonly string[] {
  return spared.frontends.length === 0 ? frontends : [...frontends, ...spared.frontends];
}

function allBackends({ backendIds, spared }: Held): readonly number[] {
  return spared.backendIds.length === 0 ? backendIds : [...backendIds, ...spared.backendIds];
}

/** By address and port, as rows have their backends. */
function byEndpoint(a: Backend, b: Backend): number {
  return a.address === b.address ? a.port - b.port : a.address < b.address ? -1 : 1;
}

function sameEntry(a: Entry, b: Entry): boolean {
  return (
    a.id === b.id &&
    a.firstSlot === b.firstSlot &&
    a.slotCount === b.slotCount &&
    a.affinitySeconds === b.affinitySeconds &&
    a.algorithm === b.algorithm &&
    a.flags === b.flags
  );
}

/** Flags that all frontends of a row have. */
function flagsOf({ silent, forwarding, frontends }: ServiceRow): ServiceFlags {
  const flags =
    (silent ? serviceFlags.dropIfEmpty : 0) |
    (forwarding === 'dsr' ? serviceFlags.dsr : 0) |
    (frontends[0]?.kind === 'HostPort' ? serviceFlags.hostPort : 0);
  return flags as ServiceFlags;
}

const keyBuffer = new Uint8Array(serviceKeySize);

function frontendKeys({ frontends, scope }: ServiceRow): string[] {
  return frontends.map((frontend) =>
    frontendKey(frontend, scope === 'outside' ? serviceScope.external : serviceScope.internal),
  );
}

function frontendKey({ address, port, protocol }: Frontend, scope: ServiceScope): string {
  const ip = parseIp(address);
  if (!ip) throw new Error(`read frontend address ${address}: not an IP address`);
  encodeServiceKey({ address: ip, port, protocol: protocolNumbers[protocol], scope }, keyBuffer, 0);
  return keyText(keyBuffer);
}

/** What the rest of an address' ports are, and that a UDP backend has it. */
const frontendRoles = {
  ClusterIP: 'service',
  NodePort: 'node',
  LoadBalancer: 'external',
  ExternalIP: 'external',
  HostPort: 'node',
} as const;

/** The addresses that a row makes known, for packets and sockets to any port of them. */
function addressesOf(row: ServiceRow, keys: readonly string[]): readonly AddressUse[] {
  const uses: AddressUse[] = [];
  row.frontends.forEach(({ kind, address }, i) => {
    // No packet may carry these: what comes with one from a device is none of a service's.
    if (isUnspecified(address) || isLoopback(address)) return;
    // A service key begins with its address.
    uses.push({ address: keys[i]!.slice(0, addressKeySize), role: frontendRoles[kind] });
  });
  if (row.protocol === 'UDP') {
    for (const { address } of row.backends) {
      uses.push({ address: keyText(parseIp(address)!), role: 'udpBackend' });
    }
  }
  return compactList(uses);
}
