import { median, quantile, spread } from '../statistics.ts';
import { type Case, verdict } from './case.ts';
import { ServiceFiles } from './service-files.ts';

const name = 'change';

/** One endpoint of one service changes, while all the others stay programmed. */
export const change: Case = {
  name,
  about: 'one endpoint changes: from the rename of its manifest into place to programmed',
  commands: [],
  sizes: () => [5_000],
  async measure(world, size, quick) {
    using files = await ServiceFiles.open(world, `${name}-${size}`, size);
    const count = quick ? 300 : 1_000;
    // The first ones compile the code that all others use.
    for (let i = 0; i < 100; i++) {
      files.change();
      await files.pause(2);
    }
    const times: number[] = [];
    const cpuBefore = files.agent.cpuNs();
    for (let i = 0; i < count; i++) {
      times.push(files.change());
      await files.pause(5);
    }
    const cpuUs = (files.agent.cpuNs() - cpuBefore) / count / 1000;
    const what = { case: name, size };
    const p99Ms = quantile(times, 0.99) / 1000;
    return {
      rows: [
        {
          ...{ case: name, size, variant: 'heddle' },
          ...{ p50Us: median(times), ratioToDirect: null, spread: spread(times) },
          ...{ p99Us: p99Ms * 1000, cpuUsPerChange: cpuUs, changes: count },
        },
      ],
      verdicts: [
        verdict({ ...what, what: 'rename to programmed, p99' }, p99Ms, { atMost: 5 }, ' ms'),
        verdict({ ...what, what: 'CPU per change' }, cpuUs / 1000, { atMost: 2 }, ' ms'),
      ],
      notes: [],
    };
  },
};
