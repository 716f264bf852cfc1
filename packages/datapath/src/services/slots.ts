import type { Algorithm } from '@heddle/objects';
import type { Backend } from '@heddle/services';
import { formatEndpoint } from '@heddle/sys';
import { maglevSize, maglevTable } from './maglev.ts';

/** The most slots of a weighted service; shares are exact to one part in this. */
export const weightedSlots = 1024;

/**
 * Returns the slots of a service: for each the id of a backend, out of `ids`, which are those of `backends`. Only
 * active backends get new connections. The kernel chooses a slot; the share of a backend is the number of its slots.
 */
export function slotsOf(
  algorithm: Algorithm,
  backends: readonly Backend[],
  ids: readonly number[],
): number[] {
  const activeIds = ids.filter((_, i) => backends[i]!.state === 'active');
  if (algorithm !== 'weighted' && algorithm !== 'maglev') return activeIds;
  const active = backends.filter(({ state }) => state === 'active');
  const indices = algorithm === 'weighted' ? weightedSlotsOf(active) : maglevSlots(active);
  return Array.from(indices, (index) => activeIds[index]!);
}

function maglevSlots(backends: readonly Backend[]): Uint32Array {
  const named = backends.map(({ address, port, weight }) => ({
    name: formatEndpoint(address, port),
    weight,
  }));
  return maglevTable(named, maglevSize(backends.length));
}

/** Returns each index as often as its weight; large weights are scaled down to fit `weightedSlots`. */
function weightedSlotsOf(backends: readonly Backend[]): Uint32Array {
  const weights = backends.map(({ weight }) => weight);
  const divisor = weights.reduce(greatestCommonDivisor, 0) || 1;
  const total = weights.reduce((sum, weight) => sum + weight / divisor, 0);
  const scale = Math.min(1, weightedSlots / total);
  const slots: number[] = [];
  weights.forEach((weight, index) => {
    // The least share is one slot.
    const share = Math.max(1, Math.round((weight / divisor) * scale));
    for (let i = 0; i < share; i++) slots.push(index);
  });
  return Uint32Array.from(slots);
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
