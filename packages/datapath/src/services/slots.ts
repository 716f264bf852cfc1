import type { Algorithm } from '@heddle/objects';
import type { Backend } from '@heddle/services';
import { formatEndpoint } from '@heddle/sys';
import { maglevSize, maglevTable } from './maglev.ts';

/** Slots that a weighted run has at most; shares are exact to one part in this. */
export const weightedSlots = 1024;

/**
 * The run of a service: for each slot a backend's id, out of `ids`, which are those of `backends`.
 * Only active ones take new connections. The kernel draws a slot; how often a backend stands in the
 * run is its share.
 */
export function slotsOf(
  algorithm: Algorithm,
  backends: readonly Backend[],
  ids: readonly number[],
): number[] {
  const activeIds = ids.filter((_, i) => backends[i]!.state === 'active');
  if (algorithm !== 'weighted' && algorithm !== 'maglev') return activeIds;
  const active = backends.filter(({ state }) => state === 'active');
  const run = algorithm === 'weighted' ? weightedRun(active) : maglevRun(active);
  return Array.from(run, (index) => activeIds[index]!);
}

function maglevRun(backends: readonly Backend[]): Uint32Array {
  const named = backends.map(({ address, port, weight }) => ({
    name: formatEndpoint(address, port),
    weight,
  }));
  return maglevTable(named, maglevSize(backends.length));
}

/** Each index as often as its weight; large weights are scaled down to fit `weightedSlots`. */
function weightedRun(backends: readonly Backend[]): Uint32Array {
  const weights = backends.map(({ weight }) => weight);
  const divisor = weights.reduce(greatestCommonDivisor, 0) || 1;
  const total = weights.reduce((sum, weight) => sum + weight / divisor, 0);
  const scale = Math.min(1, weightedSlots / total);
  const run: number[] = [];
  weights.forEach((weight, index) => {
    // Nobody with a weight goes without: the least share is one slot.
    const share = Math.max(1, Math.round((weight / divisor) * scale));
    for (let i = 0; i < share; i++) run.push(index);
  });
  return Uint32Array.from(run);
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
