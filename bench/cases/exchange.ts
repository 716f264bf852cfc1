import type { SiteName } from '../sites.ts';
import { type Case, verdict } from './case.ts';
import { measureLatency } from './latency.ts';

/** Requests and responses on a connection that is open already, between pods of a node. */
export const exchange = exchangeCase({
  name: 'exchange',
  about: 'request + response on an open connection, p50, ratio to the direct path',
  site: 'east-west',
  // 1.00 within the noise.
  atMost: 1.01,
});

/** The same for an external client, and a pod of another node. */
export const outsideExchange = exchangeCase({
  name: 'outside-exchange',
  about: 'the same from an external client to a NodePort, for a pod on another node',
  site: 'north-south',
  atMost: 1.02,
});

interface ExchangeCase extends Pick<Case, 'name' | 'about'> {
  readonly site: SiteName;
  /** Largest ratio to the direct path that is good enough. */
  readonly atMost: number;
}

function exchangeCase({ name, about, site, atMost }: ExchangeCase): Case {
  return {
    ...{ name, about, site },
    commands: ['iptables-legacy-restore', 'nft'],
    sizes: () => [5_000],
    async measure(world, size, quick) {
      const { variants } = await world.install(size);
      const once = variants.filter(({ aim }) => aim.kind !== 'any service');
      const rows = await measureLatency(world, once, {
        ...{ kind: 'exchange', case: name, size, rounds: quick ? 10 : 40 },
        ...{ blocks: 16, blockSize: 44 },
      });
      const own = rows.find(({ variant }) => variant === 'heddle service')!;
      const what = { case: name, size, what: 'service / direct' };
      return {
        rows,
        verdicts: [verdict(what, own.ratioToDirect!, { atMost }, '', 3)],
        notes: [],
      };
    },
  };
}
