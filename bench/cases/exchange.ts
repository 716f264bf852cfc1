import { type Case, verdict } from './case.ts';
import { measureLatency } from './latency.ts';

const name = 'exchange';
/** What counts as 1.00 within the noise. */
const noise = 0.01;

/** Requests and responses on a connection that is open already. */
export const exchange: Case = {
  name,
  about: 'request + response on an open connection, p50, ratio to the direct path',
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
      verdicts: [verdict(what, own.ratioToDirect!, { atMost: 1 + noise }, '', 3)],
      notes: [],
    };
  },
};
