import { type Case, type Row, type Verdict, verdict } from './case.ts';
import { measureLatency } from './latency.ts';

const policies = 'heddle policies direct';
const without = 'heddle direct';
const peers = ['kube-router direct', 'kube-network-policies direct'];

/** Connections between pods that a hundred policies select, beside pods without policies. */
const connectWithPolicies: Case = {
  name: 'policy',
  about: 'connect + request + close between pods that 100 policies select',
  commands: ['nft'],
  site: 'pods-policies',
  sizes: () => [100, 5_000],
  async measure(world, size, quick) {
    const { variants } = await world.install(size);
    const rows = await measureLatency(world, variants, {
      ...{ kind: 'connect', case: 'policy', size, rounds: quick ? 10 : 40 },
      ...{ blocks: 16, blockSize: 24 },
    });
    const ratio = ratiosOf(rows);
    const what = (text: string) => ({ case: 'policy', size, what: text });
    return {
      rows,
      verdicts: [
        // At 5,000 policies the time is within 1.05 of that at 100.
        verdict(
          what('with policies / kernel routing without'),
          ratio(policies),
          { atMost: size === 100 ? 0.94 : 0.987 },
          '',
          3,
        ),
        verdict(
          what('without policies / kernel routing without'),
          ratio(without),
          { atMost: 0.92 },
          '',
          3,
        ),
        ...peers.map((peer) => aheadOf(what(`ahead of ${peer}`), ratio(policies), ratio(peer))),
      ],
      notes: [],
    };
  },
};

const exchangeWithPolicies: Case = {
  name: 'policy-exchange',
  about: 'request + response on an open connection between such pods',
  commands: ['nft'],
  site: 'pods-policies',
  sizes: () => [100],
  async measure(world, size, quick) {
    const { variants } = await world.install(size);
    const rows = await measureLatency(world, variants, {
      ...{ kind: 'exchange', case: 'policy-exchange', size, rounds: quick ? 10 : 40 },
      ...{ blocks: 16, blockSize: 44 },
    });
    const ratio = ratiosOf(rows);
    const what = (text: string) => ({ case: 'policy-exchange', size, what: text });
    return {
      rows,
      verdicts: [
        verdict(
          what('with policies / without'),
          ratio(policies) / ratio(without),
          { atMost: 1.01 },
          '',
          3,
        ),
        ...peers.map((peer) => aheadOf(what(`ahead of ${peer}`), ratio(policies), ratio(peer))),
      ],
      notes: [],
    };
  },
};

export const policyCases: readonly Case[] = [connectWithPolicies, exchangeWithPolicies];

function ratiosOf(rows: readonly Row[]): (variant: string) => number {
  return (variant) => rows.find((row) => row.variant === variant)!.ratioToDirect!;
}

function aheadOf(
  what: Pick<Verdict, 'case' | 'size' | 'what'>,
  own: number,
  theirs: number,
): Verdict {
  return { ...what, target: `< ${theirs.toFixed(3)}`, measured: own.toFixed(3), met: own < theirs };
}
