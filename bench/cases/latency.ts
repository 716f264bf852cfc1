import { median, quantile, spread } from '../statistics.ts';
import type { Variant, World } from '../world.ts';
import type { Row } from './case.ts';

export interface LatencyPlan {
  readonly kind: 'connect' | 'exchange' | 'transfer';
  readonly case: string;
  readonly size: number;
  readonly rounds: number;
  readonly blocks: number;
  readonly blockSize: number;
  /** The congestion control that the client chooses. Default: the pod's. */
  readonly congestionControl?: string;
}

/** Measured, but not counted: compiles the code and fills the caches. */
const warmUpRounds = 2;

/** Measures all variants round by round; the first is what the others are compared with. */
export async function measureLatency(
  world: World,
  variants: readonly Variant[],
  plan: LatencyPlan,
): Promise<Row[]> {
  const { kind, blocks, blockSize, congestionControl } = plan;
  const choice = congestionControl === undefined ? {} : { congestionControl };
  const perRound: number[][] = variants.map(() => []);
  const ratios: number[][] = variants.map(() => []);
  const tailRatios: number[][] = variants.map(() => []);
  const all: number[][] = variants.map(() => []);
  for (let round = -warmUpRounds; round < plan.rounds; round++) {
    const samples = await world.round(
      { kind, blocks, blockSize, unmeasured: 4, ...choice },
      variants,
    );
    if (round < 0) continue;
    const base = samples[0]!;
    samples.forEach((values, v) => {
      perRound[v]!.push(median(values));
      ratios[v]!.push(median(values) / median(base));
      tailRatios[v]!.push(quantile(values, 0.99) / quantile(base, 0.99));
      for (const value of values) all[v]!.push(value);
    });
  }
  return variants.map(({ name }, v) => ({
    case: plan.case,
    size: plan.size,
    variant: name,
    p50Us: median(perRound[v]!),
    ratioToDirect: median(ratios[v]!),
    spread: spread(ratios[v]!),
    p99Us: quantile(all[v]!, 0.99),
    p99RatioToDirect: median(tailRatios[v]!),
    rounds: plan.rounds,
    samples: all[v]!.length,
  }));
}
