import { type Case, type Verdict, verdict } from './case.ts';
import { measureLatency } from './latency.ts';

const name = 'connect';

/** A new connection for each request. */
export const connect: Case = {
  name,
  about: 'connect + request + close, p50, ratio to the direct path',
  commands: ['iptables-legacy-restore', 'nft'],
  sizes: (quick) => (quick ? [10, 5_000] : [10, 1_000, 5_000, 50_000]),
  async measure(world, size, quick) {
    const { variants, skipped } = await world.install(size);
    const rounds = quick ? 10 : 40;
    const rows = await measureLatency(world, variants, {
      ...{ kind: 'connect', case: name, size, rounds },
      // With 50,000 rules in line, a connection through iptables takes milliseconds.
      ...(size > 10_000 ? { blocks: 8, blockSize: 14 } : { blocks: 16, blockSize: 24 }),
    });
    return {
      rows,
      verdicts: latencyVerdicts(name, size, rows, 1.03),
      notes: [...skipped].map(([balancer, why]) => `${name} at ${size}: no ${balancer}: ${why}`),
    };
  },
};

/** Heddle against its target and against its peers. */
export function latencyVerdicts(
  caseName: string,
  size: number,
  rows: readonly { variant: string; ratioToDirect: number | null }[],
  atMost: number,
): Verdict[] {
  const ratio = (variant: string) => rows.find((row) => row.variant === variant)?.ratioToDirect;
  const own = ratio('heddle service')!;
  const verdicts = [
    verdict({ case: caseName, size, what: 'service / direct' }, own, { atMost }, '', 3),
    verdict(
      { case: caseName, size, what: 'a different service each time / direct' },
      ratio('heddle any service')!,
      { atMost },
      '',
      3,
    ),
    verdict(
      { case: caseName, size, what: 'direct with Heddle attached / direct' },
      ratio('heddle direct')!,
      // 1.00 within the noise, whose size a run can only know roughly.
      { atMost: 1.01 },
      '',
      3,
    ),
  ];
  for (const peer of ['iptables', 'nftables']) {
    const theirs = ratio(`${peer} service`);
    if (typeof theirs !== 'number') continue;
    verdicts.push({
      ...{ case: caseName, size, what: `ahead of ${peer}`, target: `< ${theirs.toFixed(3)}` },
      ...{ measured: own.toFixed(3), met: own < theirs },
    });
  }
  return verdicts;
}
