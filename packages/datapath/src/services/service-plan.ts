import { compactList } from '@heddle/objects';
import type { Backend, ServiceRow } from '@heddle/services';
import { NoRoom } from '../core/keyed-map.ts';
import {
  type ServiceAlgorithm,
  type ServiceFlags,
  serviceAlgorithm,
  serviceFlags,
} from '../generated/abi.ts';
import type { AddressUse } from './address-roles.ts';
import { endpointText } from './backend-table.ts';
import { addressesOf, frontendKeys } from './frontend-keys.ts';
import { slotsOf } from './slots.ts';

/** A value of the map `services`, without the round-robin cursor. */
export interface Entry {
  readonly id: number;
  readonly firstSlot: number;
  readonly slotCount: number;
  readonly affinitySeconds: number;
  readonly algorithm: ServiceAlgorithm;
  readonly flags: ServiceFlags;
}

/** The entries in the kernel's maps that belong to a row. */
export interface Programmed {
  readonly entry: Entry;
  /** Keys in the map `services`. */
  readonly frontends: readonly string[];
  readonly backendIds: readonly number[];
  readonly addresses: readonly AddressUse[];
  readonly inherited: Inherited;
}

/**
 * The entries of an earlier agent that a row does not need. They stay until all objects are known:
 * the object that needs them may be in a file that cannot be read now.
 */
export interface Inherited {
  readonly frontends: readonly string[];
  readonly backendIds: readonly number[];
}

const nothingInherited: Inherited = { frontends: [], backendIds: [] };

/** Replaces a slot range that is unknown, invalid or another service's. It differs from every written range. */
export const unknownSlots = { firstSlot: 0xffffffff, slotCount: 0 } as const;

/** The plan by which a row is programmed. Lookups see nothing of it until its frontends are written. */
export interface Plan extends Programmed {
  readonly row: ServiceRow;
  /** The frontends that loadBalancerSourceRanges apply to. */
  readonly ranged: readonly string[];
  readonly before: Programmed | undefined;
  /** Backends to be written under ids that were allocated for them. */
  readonly newBackends: readonly PlannedBackend[];
  /** Backends that stay, whose state or weight changes. */
  readonly changedBackends: readonly (PlannedBackend & { readonly before: Backend })[];
  /** Ids for the slots from `entry.firstSlot` on, which were allocated for them. If undefined, the slots stay. */
  readonly slots: readonly number[] | undefined;
}

export interface PlannedBackend {
  readonly id: number;
  readonly backend: Backend;
}

/** The inputs of a plan besides its row: free numbers and the programmed entries. */
export interface PlanContext {
  readonly allocateService: () => number;
  /** Returns a free id, or undefined if there is none. */
  readonly allocateBackend: () => number | undefined;
  readonly releaseBackend: (id: number) => void;
  /** Returns the first of so many free slots, or undefined if there are not as many. */
  readonly allocateSlots: (count: number) => number | undefined;
  readonly backendCapacity: number;
  readonly slotCapacity: number;
  /** Returns the endpoint of a programmed backend, as `endpointText` has it. */
  readonly endpoint: (id: number) => string;
  readonly backend: (id: number) => Backend;
  /** Returns true when a programmed backend has this state and weight. */
  readonly isUpToDate: (id: number, backend: Backend) => boolean;
  /** Returns true when the slots from `first` on have exactly these ids. */
  readonly hasSlots: (first: number, ids: readonly number[]) => boolean;
  /** Returns the id of the service that has a frontend, or undefined if none has it. */
  readonly serviceAt: (frontend: string) => number | undefined;
  /** Returns true while rows keep what an earlier agent programmed and they do not ask for. */
  readonly keepsInherited: () => boolean;
}

/**
 * Plans how a row is programmed in place of `before`. Allocates numbers, but writes to no map. Throws NoRoom; then
 * nothing is allocated.
 */
export function planService(
  row: ServiceRow,
  before: Programmed | undefined,
  context: PlanContext,
): Plan {
  const frontends = frontendKeys(row);
  const newBackends: PlannedBackend[] = [];
  try {
    const backendIds = planBackends(row, before, context, newBackends);
    const id = before?.entry.id ?? context.allocateService();
    const inherited = stillInherited({ id, before, frontends, backendIds }, context);
    const drawn = drawnBackends(row, backendIds, inherited, context);
    const slots = slotsOf(row.algorithm, drawn.backends, drawn.ids);
    const keepsSlots =
      before?.entry.slotCount === slots.length && context.hasSlots(before.entry.firstSlot, slots);
    return {
      row,
      before,
      frontends,
      ranged: rangedFrontends(row, frontends),
      backendIds,
      newBackends,
      changedBackends: before ? changedBackends(row, backendIds, newBackends, context) : [],
      slots: keepsSlots ? undefined : slots,
      addresses: addressesOf(row, frontends),
      inherited,
      entry: {
        id,
        firstSlot: keepsSlots ? before.entry.firstSlot : allocateSlots(slots.length, context),
        slotCount: slots.length,
        affinitySeconds: row.affinitySeconds,
        algorithm: algorithms[row.algorithm],
        flags: flagsOf(row),
      },
    };
  } catch (error) {
    for (const { id } of newBackends) context.releaseBackend(id);
    throw error;
  }
}

/** Changes of the map `services`: frontends that it does not have yet, and others. */
export interface FrontendChanges {
  readonly added: readonly FrontendEntry[];
  readonly changed: readonly FrontendEntry[];
}

export interface FrontendEntry {
  readonly key: string;
  readonly entry: Entry;
}

/** Flags that a frontend has of its own; all other flags are the row's. */
export const rangedFlags = serviceFlags.sourceRanges | serviceFlags.internalSourceRanges;

/**
 * Returns what plans change of `current`, the entries of the map `services`. Frontends that loadBalancerSourceRanges
 * apply to get `flags` besides those of their row.
 */
export function frontendChanges(
  plans: readonly Plan[],
  current: ReadonlyMap<string, Entry>,
  flags: number,
): FrontendChanges {
  const added: FrontendEntry[] = [];
  const changed: FrontendEntry[] = [];
  const wanted = new Set(plans.flatMap(({ frontends }) => frontends));
  for (const plan of plans) {
    for (const key of allFrontends(plan)) {
      const now = current.get(key);
      const isInherited = !plan.frontends.includes(key);
      // Another row may have taken over an inherited frontend.
      if (isInherited && (wanted.has(key) || now?.id !== plan.entry.id)) continue;
      const isRanged = isInherited ? now!.flags & rangedFlags : plan.ranged.includes(key);
      const entry = isRanged
        ? { ...plan.entry, flags: (plan.entry.flags | flags) as ServiceFlags }
        : plan.entry;
      if (now && sameEntry(now, entry)) continue;
      (now ? changed : added).push({ key, entry });
    }
  }
  return { added, changed };
}

/** Returns true when a frontend has backends by the plan and has none now. */
export function servesMore({ before, entry, frontends }: Plan): boolean {
  if (entry.slotCount === 0) return false;
  if (!before || before.entry.slotCount === 0) return true;
  const served = new Set(allFrontends(before));
  return frontends.some((key) => !served.has(key));
}

export function isInheriting({ inherited }: Programmed): boolean {
  return inherited.frontends.length > 0 || inherited.backendIds.length > 0;
}

export function allFrontends({ frontends, inherited }: Programmed): readonly string[] {
  return inherited.frontends.length === 0 ? frontends : [...frontends, ...inherited.frontends];
}

export function allBackends({ backendIds, inherited }: Programmed): readonly number[] {
  return inherited.backendIds.length === 0 ? backendIds : [...backendIds, ...inherited.backendIds];
}

export function sameEntry(a: Entry, b: Entry): boolean {
  return (
    a.id === b.id &&
    a.firstSlot === b.firstSlot &&
    a.slotCount === b.slotCount &&
    a.affinitySeconds === b.affinitySeconds &&
    a.algorithm === b.algorithm &&
    a.flags === b.flags
  );
}

/** Returns the ids of a row's backends; those that `before` doesn't have are allocated, and go to `added`. */
function planBackends(
  row: ServiceRow,
  before: Programmed | undefined,
  context: PlanContext,
  added: PlannedBackend[],
): readonly number[] {
  const known = new Map<string, number>();
  if (before) for (const id of allBackends(before)) known.set(context.endpoint(id), id);
  return compactList(
    row.backends.map((backend) => {
      const { address, port } = backend;
      const existing = before && known.get(endpointText(address, port, row.protocol));
      if (existing !== undefined) return existing;
      const id = context.allocateBackend();
      if (id === undefined) {
        throw new NoRoom('backends', context.backendCapacity, 'sizes.backends');
      }
      added.push({ id, backend });
      return id;
    }),
  );
}

function changedBackends(
  row: ServiceRow,
  backendIds: readonly number[],
  added: readonly PlannedBackend[],
  context: PlanContext,
): Plan['changedBackends'] {
  const isNew = new Set(added.map(({ id }) => id));
  return backendIds.flatMap((id, i) => {
    const backend = row.backends[i]!;
    if (isNew.has(id) || context.isUpToDate(id, backend)) return [];
    return [{ id, backend, before: context.backend(id) }];
  });
}

/** Returns the backends that a row's slots are chosen from: its own, and those that it has inherited. */
function drawnBackends(
  row: ServiceRow,
  backendIds: readonly number[],
  { backendIds: more }: Inherited,
  context: PlanContext,
): { readonly backends: readonly Backend[]; readonly ids: readonly number[] } {
  if (more.length === 0) return { backends: row.backends, ids: backendIds };
  const all = [
    ...row.backends.map((backend, i) => ({ id: backendIds[i]!, backend })),
    ...more.map((id) => ({ id, backend: context.backend(id) })),
  ];
  // A row has its backends in this order, so slots that are as they should be need not be written.
  all.sort((a, b) => byEndpoint(a.backend, b.backend));
  return { backends: all.map(({ backend }) => backend), ids: all.map(({ id }) => id) };
}

/** Returns what is left of what `before` had inherited. */
function stillInherited(
  {
    id,
    before,
    frontends,
    backendIds,
  }: Pick<Plan, 'before' | 'frontends' | 'backendIds'> & { id: number },
  { keepsInherited, serviceAt }: PlanContext,
): Inherited {
  if (!before || !keepsInherited() || !isInheriting(before)) return nothingInherited;
  return {
    frontends: before.inherited.frontends.filter(
      (key) => !frontends.includes(key) && serviceAt(key) === id,
    ),
    backendIds: before.inherited.backendIds.filter((other) => !backendIds.includes(other)),
  };
}

function allocateSlots(count: number, { allocateSlots, slotCapacity }: PlanContext): number {
  const first = count === 0 ? 0 : allocateSlots(count);
  if (first === undefined) throw new NoRoom('slots', slotCapacity, 'sizes.slots');
  return first;
}

function rangedFrontends(row: ServiceRow, frontends: readonly string[]): readonly string[] {
  if (row.sourceRanges.length === 0) return [];
  return frontends.filter((_, i) => row.frontends[i]!.kind === 'LoadBalancer');
}

const algorithms: Readonly<Record<ServiceRow['algorithm'], ServiceAlgorithm>> = {
  random: serviceAlgorithm.random,
  weighted: serviceAlgorithm.random,
  'round-robin': serviceAlgorithm.roundRobin,
  'least-connections': serviceAlgorithm.leastConnections,
  maglev: serviceAlgorithm.hash,
};

/** Returns the flags that all frontends of a row have. */
function flagsOf({ silent, forwarding, frontends }: ServiceRow): ServiceFlags {
  const flags =
    (silent ? serviceFlags.dropIfEmpty : 0) |
    (forwarding === 'dsr' ? serviceFlags.dsr : 0) |
    (frontends[0]?.kind === 'HostPort' ? serviceFlags.hostPort : 0);
  return flags as ServiceFlags;
}

/** Compares by address and port: rows have their backends in this order. */
function byEndpoint(a: Backend, b: Backend): number {
  return a.address === b.address ? a.port - b.port : a.address < b.address ? -1 : 1;
}
