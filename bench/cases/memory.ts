import { median, spread } from '../statistics.ts';
import { type Case, verdict } from './case.ts';
import { ServiceFiles } from './service-files.ts';

const name = 'memory';
const MiB = 1024 * 1024;
const samples = 50;
/** The agent looks every few seconds whether there is memory to give back. */
const settleMs = 12_000;
/** The largest ratio of late samples to early ones that counts as flat. */
const flatWithin = 1.05;

/** The agent's resident memory, at first and while endpoints change. */
export const memory: Case = {
  name,
  about: 'resident memory of the agent, while endpoints change',
  commands: [],
  sizes: () => [5_000],
  async measure(world, size, quick) {
    using files = await ServiceFiles.open(world, `${name}-${size}`, size);
    const changes = quick ? 1_000 : 100_000;
    await files.pause(settleMs);
    const atStart = files.agent.residentBytes() / MiB;
    const resident: number[] = [];
    for (let i = 1; i <= changes; i++) {
      files.change();
      if (i % 20 === 0) await files.pause(0);
      if (i % (changes / samples) === 0) resident.push(files.agent.residentBytes() / MiB);
    }
    const early = median(resident.slice(samples / 5, (2 * samples) / 5));
    const late = median(resident.slice(-samples / 5));
    const peak = Math.max(atStart, ...resident);
    const what = { case: name, size };
    return {
      rows: [
        {
          ...{ case: name, size, variant: 'heddle agent' },
          ...{ p50Us: null, ratioToDirect: null, spread: spread(resident) },
          ...{ atStartMiB: atStart, medianMiB: median(resident), mostMiB: peak },
          ...{ earlyMiB: early, lateMiB: late, changes },
        },
      ],
      verdicts: [
        verdict({ ...what, what: 'resident after the start' }, atStart, { atMost: 90 }, ' MiB', 0),
        verdict(
          { ...what, what: `most resident during ${changes} changes` },
          peak,
          { atMost: 90 },
          ' MiB',
          0,
        ),
        // A few thousand changes are not yet the first collection of the old generation.
        ...(quick
          ? []
          : [
              verdict(
                { ...what, what: `flat: last fifth / second fifth of ${changes} changes` },
                late / early,
                { atMost: flatWithin },
              ),
            ]),
      ],
      notes: [],
    };
  },
};
