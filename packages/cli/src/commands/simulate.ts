import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ManifestSet } from '@heddle/agent/source';
import type { ObjectRecord } from '@heddle/model';
import { exitCodes, Failure } from '../failure.ts';
import { formatTable, type OutputFormat, printJson, printLine, styled } from '../print.ts';
import type { Disruption, Distribution } from '../simulate/measures.ts';
import type { SimulationReport, StepReport, TrafficReport } from '../simulate/report.ts';
import { readScenario, type Scenario } from '../simulate/scenario.ts';
import { simulate as run } from '../simulate/simulation.ts';
import { manifestsIn } from './validate.ts';

interface Options {
  readonly manifests?: string;
  readonly nodes?: number;
  readonly scenario: string;
  readonly seed?: number;
  readonly output: OutputFormat;
}

/** How often progress is told. */
const progressMs = 200;

/** `heddle simulate`: what a scenario comes to on a cluster that is simulated in this process. */
export function simulate(options: Options): void {
  const { manifests, nodes, scenario: file, seed, output } = options;
  const read = readScenario(file, readScenarioFile(file));
  if (nodes !== undefined && (nodes < 1 || nodes > 10_000)) {
    throw new Failure(
      exitCodes.usage,
      `simulate: --nodes is ${nodes}; write a whole number from 1 to 10000`,
    );
  }
  if (manifests === undefined && read.services === undefined) {
    throw new Failure(
      exitCodes.usage,
      `simulate: there are no services (name a folder with --manifests, or have ${file} make some up: services)`,
    );
  }
  const scenario: Scenario = {
    ...read,
    ...(nodes === undefined ? {} : { nodes: { zones: [], ...read.nodes, count: nodes } }),
    ...(seed === undefined ? {} : { seed }),
  };
  const records = manifests === undefined ? [] : readManifests(manifests);
  const started = performance.now();
  const progress = progressLine();
  let report: SimulationReport;
  try {
    report = run(scenario, records, progress.tell);
  } finally {
    progress.clear();
  }
  if (output === 'json') printJson(report);
  else print(report);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const megabytes = Math.round(process.resourceUsage().maxRSS / 1024);
  if (process.stderr.isTTY)
    process.stderr.write(`simulated in ${seconds} s with at most ${megabytes} MiB\n`);
}

function readScenarioFile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const cause =
      code === 'ENOENT'
        ? 'there is no such file'
        : code === 'EISDIR'
          ? 'it is a folder (name the file with the steps)'
          : (error as Error).message;
    throw new Failure(exitCodes.failed, `read scenario ${file}: ${cause}`);
  }
}

function readManifests(dir: string): ObjectRecord[] {
  const set = new ManifestSet();
  for (const name of manifestsIn(dir, 'simulate')) {
    set.accept(name, set.parse(name, readFileSync(join(dir, name))));
  }
  const problems = set.problems();
  if (problems.length > 0) {
    const lines = problems.map(
      ({ file, line, message }) => `${join(dir, file)}:${line}: ${message}`,
    );
    throw new Failure(
      exitCodes.failed,
      `simulate: the manifests can't be used\n${lines.join('\n')}`,
    );
  }
  return set.takeChanges().flatMap((change) => (change.op === 'set' ? [change.object] : []));
}

/** Says how far a long run is, in one line that is overwritten; nothing where nobody looks. */
function progressLine() {
  const { stderr } = process;
  let shown = 0;
  const clear = () => {
    if (shown > 0) stderr.write('\r\x1b[K');
  };
  return {
    tell(text: string, done: number, of: number) {
      const now = performance.now();
      if (!stderr.isTTY || now - shown < progressMs) return;
      shown = now;
      stderr.write(`\r\x1b[K${text}: ${done} of ${of}`);
    },
    clear,
  };
}

function print({ seed, nodes, services, steps, total }: SimulationReport): void {
  printLine(`${nodes} nodes, ${services} services, seed ${seed}`);
  for (const step of steps) printStep(step);
  printLine();
  printLine(styled('bold', 'in all'));
  printTraffic(total.traffic);
  if (total.disruption) printDisruption(total.disruption);
  if (total.openConnections > 0) {
    const spread = total.distribution ? `: ${distributionText(total.distribution)}` : '';
    printLine(`  ${total.openConnections} connections are open${spread}`);
  }
  for (const { reason, count } of total.drops)
    printLine(`  ${styled('yellow', `${count} dropped`)}: ${reason}`);
  const last = steps.at(-1)!;
  printLine();
  process.stdout.write(
    formatTable(
      ['MAP', 'LEAST', 'MEAN', 'MOST', 'ROOM', 'PRESSURE'],
      last.maps.map(({ name, least, mean, most, maxEntries, pressure }) => {
        const text = percent(pressure);
        const cell = pressure > 0.9 ? { text, style: 'red' as const } : text;
        return [name, `${least}`, `${mean}`, `${most}`, `${maxEntries}`, cell];
      }),
    ),
  );
}

function printStep({
  number,
  at,
  text,
  events,
  traffic,
  disruption,
  drops,
  failures,
}: StepReport): void {
  printLine();
  printLine(`${styled('bold', `${number}. ${text}`)} ${styled('dim', `(at ${at} s)`)}`);
  for (const event of events) printLine(`  ${event}`);
  if (traffic) printTraffic(traffic);
  if (disruption) printDisruption(disruption);
  for (const { reason, count } of drops)
    printLine(`  ${styled('yellow', `${count} dropped`)}: ${reason}`);
  for (const { reason, count } of failures)
    printLine(`  ${styled('red', `${count} rows not in force`)}: ${reason}`);
}

function printTraffic({
  attempts,
  connected,
  refused,
  reset,
  unanswered,
  distribution,
}: TrafficReport): void {
  if (attempts === 0) return;
  const rest = Object.entries({ refused, reset, unanswered }).filter(([, count]) => count > 0);
  const others = rest.map(([what, count]) => `, ${styled('yellow', `${count} ${what}`)}`).join('');
  printLine(`  ${connected} of ${attempts} connected${others}`);
  if (distribution) printLine(`  ${distributionText(distribution)}`);
}

function distributionText(distribution: Distribution): string {
  const { backends, least, mean, most, deviation, mostOverFair, chiSquared, degreesOfFreedom } =
    distribution;
  return `${backends} backends with ${least} to ${most} each, ${mean} on average (deviation ${deviation}, most/fair ${mostOverFair}, chi-squared ${chiSquared} with ${degreesOfFreedom} degrees of freedom)`;
}

function printDisruption(disruption: Disruption): void {
  const { open, kept, moved, reset, resetToSame, resetToOther, resetToNone, clientsGone } =
    disruption;
  const { share, changedShare, idealShare, pathGoneShare } = disruption;
  printLine(`  ${open} open connections: ${kept} kept, ${moved} moved, ${reset} broken`);
  if (reset > 0) {
    printLine(
      `    of these again with the same backend ${resetToSame}, with another ${resetToOther}, with none ${resetToNone}`,
    );
  }
  printLine(
    `    disrupted ${styled('bold', percent(share))}; with another backend ${styled('bold', percent(changedShare))}, ideal ${styled('bold', percent(idealShare))} (their backend is gone)`,
  );
  if (pathGoneShare > 0)
    printLine(`    the node that knew the connection is gone: ${percent(pathGoneShare)}`);
  if (clientsGone > 0) printLine(`    clients that went with their node: ${clientsGone}`);
}

function percent(share: number): string {
  return `${(share * 100).toFixed(2)} %`;
}
