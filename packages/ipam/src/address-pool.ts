import { FamilyPool, type FreeAddress, type IsUsable } from './family-pool.ts';
import type { Family, PodRange } from './ranges.ts';

/**
 * The time for which a released address rests. Other nodes and clients may take it for the pod that had it until they
 * have observed the pod's end.
 */
export const defaultReuseDelayMs = 60_000;

/** Warnings begin when this share of the addresses is used. */
export const warnFromShare = 0.8;

/** No address of a family is left. */
export class AddressesExhausted extends Error {
  override readonly name = 'AddressesExhausted';
  readonly usage: FamilyUsage;

  constructor(usage: FamilyUsage) {
    const { family, ranges, used, total } = usage;
    const of = ranges.length === 0 ? '' : ` of ${ranges.join(', ')}`;
    const rest = used < total ? ', and the kernel maps have no room for the others' : '';
    super(
      total === 0
        ? `allocate address: this node has no ${family} addresses for pods${of}`
        : `allocate address: ${used} of ${total} ${family} addresses${of} are used${rest}`,
    );
    this.usage = usage;
  }
}

/** The use of one family's addresses. */
export interface FamilyUsage {
  readonly family: Family;
  readonly ranges: readonly string[];
  readonly used: number;
  /** The number of addresses that pods can have. */
  readonly total: number;
}

/** The addresses that a pod was given. */
export interface Allocation {
  /** One address of each family that the node has ranges of, IPv4 first. */
  readonly addresses: readonly string[];
  /** True if one of them was released less than the reuse delay ago, because no other was free. */
  readonly isEarly: boolean;
}

export interface AddressPoolOptions {
  /** Default: 60 s. */
  readonly reuseDelayMs?: number;
  /** Returns false for an address that must not be given away now. Default: all may be. */
  readonly isUsable?: IsUsable;
}

/**
 * The addresses of one node's pods. Addresses are given away in turn; a released one rests for a while. Times are
 * milliseconds of one monotonic clock.
 */
export class AddressPool {
  readonly #pools: readonly FamilyPool[];
  readonly #reuseDelayMs: number;

  constructor({
    reuseDelayMs = defaultReuseDelayMs,
    isUsable = () => true,
  }: AddressPoolOptions = {}) {
    this.#reuseDelayMs = reuseDelayMs;
    this.#pools = [new FamilyPool('IPv4', isUsable), new FamilyPool('IPv6', isUsable)];
  }

  /** Sets the ranges, in the order in which they are used up. Addresses that pods have stay theirs. */
  setRanges(ranges: readonly PodRange[]): void {
    for (const pool of this.#pools) pool.setRanges(ranges);
  }

  /** Notes addresses that a pod has already, e.g. since before the agent's start. */
  reserve(addresses: readonly string[]): void {
    for (const address of addresses) this.#poolOf(address).reserve(address);
  }

  /** Returns true if the address is in the ranges, and a pod can have it. */
  has(address: string): boolean {
    return this.#poolOf(address).has(address);
  }

  /** Returns true if a pod has this address. */
  isUsed(address: string): boolean {
    return this.#poolOf(address).isUsed(address);
  }

  /** Takes back the addresses of a pod; those that are free already are left alone. */
  release(addresses: readonly string[], nowMs: number): void {
    for (const address of addresses) this.#poolOf(address).release(address, nowMs);
  }

  /**
   * Gives away an address of each family that has ranges, with the same host number if possible. Throws
   * AddressesExhausted, and then gives away none.
   */
  allocate(nowMs: number): Allocation {
    for (const pool of this.#pools) pool.rest(nowMs - this.#reuseDelayMs);
    const pools = this.#pools.filter(({ ranges }) => ranges.length > 0);
    if (pools.length === 0) throw new AddressesExhausted(usageOf(this.#pools[0]!));
    const chosen = choose(pools);
    for (const [i, { address }] of chosen.entries()) pools[i]!.take(address);
    return {
      addresses: chosen.map(({ address }) => address),
      isEarly: chosen.some(({ isEarly }) => isEarly),
    };
  }

  /** Returns the use of each family that has ranges. */
  usage(): FamilyUsage[] {
    return this.#pools.filter(({ ranges }) => ranges.length > 0).map(usageOf);
  }

  #poolOf(address: string): FamilyPool {
    return this.#pools[address.includes(':') ? 1 : 0]!;
  }
}

interface Choice extends FreeAddress {
  readonly isEarly: boolean;
}

/** Returns an address of each pool. Throws AddressesExhausted. */
function choose(pools: readonly FamilyPool[]): readonly Choice[] {
  const pair = pools.length === 2 ? sameIndex(pools as [FamilyPool, FamilyPool]) : undefined;
  return pair ?? pools.map(chooseOne);
}

/** Returns addresses with the same host number that do not rest, or undefined when there are none. */
function sameIndex(pools: readonly [FamilyPool, FamilyPool]): readonly Choice[] | undefined {
  // The smaller family is searched, because the other one has most of its numbers.
  const [lead, other] = pools[0].total <= pools[1].total ? [0, 1] : [1, 0];
  for (const found of pools[lead as 0 | 1].free()) {
    const match = pools[other as 0 | 1].withIndex(found.index, false);
    if (!match) continue;
    const chosen = lead === 0 ? [found, match] : [match, found];
    return chosen.map((each) => ({ ...each, isEarly: false }));
  }
  return undefined;
}

function chooseOne(pool: FamilyPool): Choice {
  for (const found of pool.free()) return { ...found, isEarly: false };
  for (const found of pool.resting()) return { ...found, isEarly: true };
  throw new AddressesExhausted(usageOf(pool));
}

function usageOf({ family, ranges, used, total }: FamilyPool): FamilyUsage {
  return { family, ranges: ranges.map(({ text }) => text), used, total };
}

/** Returns warnings about families of which 80 % or more is used. */
export function usageWarnings(usages: readonly FamilyUsage[]): string[] {
  return usages
    .filter(({ used, total }) => used >= warnFromShare * total)
    .map(({ family, ranges, used, total }) => {
      const percent = total === 0 ? 100 : Math.floor((100 * used) / total);
      return `${used} of ${total} ${family} addresses for pods are used, ${percent}% of ${ranges.join(', ')} (give the node more ranges by the annotation heddle.io/pod-cidrs of its Node object)`;
    });
}
