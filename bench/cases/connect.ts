import type { SiteName } from '../sites.ts';
import { type Case, type Verdict, verdict } from './case.ts';
import { measureLatency } from './latency.ts';

/** A new connection for each request, between pods of a node. */
export const connect = connectCase({
  name: 'connect',
  about: 'connect + request + close, p50, ratio to the direct path',
  site: 'east-west',
  atMost: 1.03,
  // 1.00 within the noise, whose size a run can only know roughly.
  attachedAtMost: 1.01,
});

/** The same for an external client, and pods of another node. */
export const outsideConnect = connectCase({
  name: 'outside-connect',
  about: 'the same from an external client to a NodePort, for a pod on another node',
  site: 'north-south',
  atMost: 1.05,
});

interface ConnectCase extends Pick<Case, 'name' | 'about'> {
  readonly site: SiteName;
  /** Largest ratio to the direct path that is good enough. */
  readonly atMost: number;
  /** The same for direct traffic where Heddle is attached. */
  readonly attachedAtMost?: number;
}

function connectCase({ name, about, site, ...targets }: ConnectCase): Case {
  return {
    ...{ name, about, site },
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
        verdicts: latencyVerdicts(name, size, rows, targets),
        notes: [...skipped].map(([balancer, why]) => `${name} at ${size}: no ${balancer}: ${why}`),
      };
    },
  };
}

/** Returns the verdicts on Heddle's latency: against its target and against the other load balancers. */
function latencyVerdicts(
  caseName: string,
  size: number,
  rows: readonly { variant: string; ratioToDirect: number | null }[],
  { atMost, attachedAtMost }: Pick<ConnectCase, 'atMost' | 'attachedAtMost'>,
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
  ];
  if (attachedAtMost !== undefined) {
    const what = { case: caseName, size, what: 'direct with Heddle attached / direct' };
    verdicts.push(verdict(what, ratio('heddle direct')!, { atMost: attachedAtMost }, '', 3));
  }
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
