import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { nodePlatform } from '@heddle/sys/node';
import { buildProgram } from '../tools/build.ts';
import type { Case, Findings, Row, Verdict } from './cases/case.ts';
import { chart } from './chart.ts';
import { type Options, readOptions, UsageError, usage } from './options.ts';
import { caution, count, report } from './report.ts';
import { missingRequirements } from './requirements.ts';
import type { SiteName } from './sites.ts';
import { World } from './world.ts';

// The process has the same settings as the command heddle.
const exitCodes = { failed: 1, usage: 2, lacking: 3 } as const;
const output = fileURLToPath(new URL('./out/', import.meta.url));
const published = fileURLToPath(new URL('../docs/', import.meta.url));

/** Returns each case at each of its sizes, by size, so that services are programmed once. */
function plan({ cases, quick }: Options): { each: Case; size: number }[] {
  const comparing = cases.filter(({ commands }) => commands.length > 0);
  const others = cases.filter(({ commands }) => commands.length === 0);
  const steps = (some: readonly Case[]) =>
    some.flatMap((each) => each.sizes(quick).map((size) => ({ each, size })));
  return [...steps(comparing).sort((a, b) => a.size - b.size), ...steps(others)];
}

async function measure(options: Options): Promise<{ findings: Findings; failed: boolean }> {
  const rows: Row[] = [];
  const verdicts: Verdict[] = [];
  const notes: string[] = [];
  let failed = false;
  const busy = busyMachine();
  if (busy !== undefined) notes.push(busy);
  using worlds = new Worlds(options.beside);
  for (const { each, size } of plan(options)) {
    const start = performance.now();
    const what = `${each.name} at ${count(size)} services`;
    try {
      const found = await each.measure(worlds.of(each.site ?? 'east-west'), size, options.quick);
      rows.push(...found.rows);
      verdicts.push(...found.verdicts);
      notes.push(...found.notes);
      console.error(`measured ${what} (${((performance.now() - start) / 1000).toFixed(0)} s)`);
    } catch (error) {
      // The other cases are worth having all the same.
      failed = true;
      notes.push(`${what} failed: ${(error as Error).message}`);
      console.error(`measured ${what}: failed: ${(error as Error).stack}`);
    }
  }
  return { findings: { rows, verdicts, notes }, failed };
}

/** A world for each site, made when the first case needs it. */
class Worlds implements Disposable {
  readonly #worlds = new Map<SiteName, World>();
  readonly #beside: string | undefined;

  constructor(beside: string | undefined) {
    this.#beside = beside;
  }

  of(site: SiteName): World {
    const world = this.#worlds.get(site) ?? new World(nodePlatform(), site, this.#beside);
    this.#worlds.set(site, world);
    return world;
  }

  [Symbol.dispose](): void {
    for (const world of this.#worlds.values()) world[Symbol.dispose]();
  }
}

/** Returns the load before the benchmark adds its own. */
function busyMachine(): string | undefined {
  const [load] = loadavg() as [number, number, number];
  const processors = availableParallelism();
  if (load < processors / 2) return undefined;
  return `the machine was busy with other work (load ${load.toFixed(1)} on ${processors} processors): the ratios of connect and exchange stand it, the clock times and requests/s don't`;
}

function write({ rows, verdicts, notes }: Findings, { quick, publish }: Options): void {
  mkdirSync(output, { recursive: true });
  const latest = { when: new Date().toISOString(), quick, caution, rows, verdicts, notes };
  writeFileSync(`${output}latest.json`, `${JSON.stringify(latest, undefined, 2)}\n`);
  const picture = chart(rows);
  if (!picture) return;
  writeFileSync(`${output}bench.svg`, picture);
  if (!publish) return;
  mkdirSync(published, { recursive: true });
  writeFileSync(`${published}bench.svg`, picture);
}

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2));
  if (options === 'help') {
    console.log(usage);
    return 0;
  }
  const lacking = missingRequirements(options.cases);
  if (lacking !== undefined) {
    console.error(`bench: ${lacking}`);
    return exitCodes.lacking;
  }
  await buildProgram();
  const { findings, failed } = await measure(options);
  write(findings, options);
  console.log(report(findings));
  return failed ? exitCodes.failed : 0;
}

// Labs end with the process, and everything else with the labs.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => process.exit(130));
}
try {
  // Nothing that may still be open is a reason to stay.
  process.exit(await main());
} catch (error) {
  if (error instanceof UsageError) {
    console.error(`bench: ${error.message}\n\n${usage}`);
    process.exit(exitCodes.usage);
  }
  throw error;
}
