import type { Algorithm, Backend } from '@heddle/model';
import { formatEndpoint } from '@heddle/sys';
import { maglevSize, maglevTable } from './maglev.ts';

/** Slots that a weighted run has at most; shares are exact to one part in this. */
export const weightedSlots = 1024;

/**
 * The run of a service: for each slot, an index into `backends`, which are the ones that take new
 * connections. The kernel draws a slot; how often a backend stands in the run is its share.
 */
export function slotsOf(algorithm: Algorithm, backends: readonly Backend[]): Uint32Array {
  switch (algorithm) {
    case 'weighted':
      return weightedRun(backends.map((backend) => backend.weight));
    case 'maglev':
      return maglevTable(
        backends.map(({ address, port, weight }) => ({
          name: formatEndpoint(address, port),
          weight,
        })),
        maglevSize(backends.length),
      );
    default:
      return Uint32Array.from(backends.keys());
  }
}

/** Each index as often as its weight; large weights are scaled down to fit `weightedSlots`. */
function weightedRun(weights: readonly number[]): Uint32Array {
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
