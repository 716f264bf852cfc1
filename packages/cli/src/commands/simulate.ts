import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ManifestSet } from '@heddle/agent/source';
import { exitCodes, Failure } from '@heddle/control/failure';
import { type ServiceInput, serviceReader } from '@heddle/objects';
import {
  counted,
  type Disruption,
  type Distribution,
  type ReasonCount,
  readScenario,
  simulate as run,
  type Scenario,
  type SimulationReport,
  type StepReport,
  type TrafficReport,
} from '@heddle/simulate';
import {
  type Cell,
  formatTable,
  type OutputFormat,
  printJson,
  printLine,
  styled,
} from '../print.ts';
import { manifestsIn } from './validate.ts';

interface Options {
  readonly manifests?: string;
  readonly nodes?: number;
  readonly scenario: string;
  readonly seed?: number;
  readonly output: OutputFormat;
}

/** The interval of progress lines. */
const progressMs = 200;

/** `heddle simulate`: runs a scenario on a simulated cluster and prints the report. */
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
      `simulate: there are no services (give a folder with --manifests, or generate some in ${file}: services)`,
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
    report = run(scenario, records, progress.show);
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

function readManifests(dir: string): ServiceInput[] {
  const set = new ManifestSet(serviceReader);
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

/** Shows the progress of a long run in one line that is overwritten, if stderr is a terminal. */
function progressLine() {
  const { stderr } = process;
  let shown = 0;
  const clear = () => {
    if (shown > 0) stderr.write('\r\x1b[K');
  };
  return {
    show(text: string, done: number, of: number) {
      const now = performance.now();
      if (!stderr.isTTY || now - shown < progressMs) return;
      shown = now;
      stderr.write(`\r\x1b[K${text}: ${done} of ${of}`);
    },
    clear,
  };
}

function print(report: SimulationReport): void {
  const { seed, nodes, services, steps, total } = report;
  printLine(`${counted(nodes, 'node')}, ${counted(services, 'service')}, seed ${seed}`);
  printLine();
  process.stdout.write(
    formatTable(
      [
        '',
        'AT',
        'STEP',
        'CONNECTED',
        'OPEN',
        'KEPT',
        'MOVED',
        'BROKEN',
        'CHANGED',
        'IDEAL',
        'DROPS',
      ],
      [
        ...steps.map((step) => [
          ...[`${step.number}`, `${step.at}s`, shortened(step.text)],
          ...outcome(step.traffic, step.disruption, step.drops),
        ]),
        [
          '',
          '',
          { text: 'in all', style: 'bold' },
          ...outcome(total.traffic, total.disruption, total.drops),
        ],
      ],
    ),
  );
  const notes = steps.flatMap(notesOf);
  if (notes.length > 0) printLine();
  for (const note of notes) printLine(note);
  section(
    [
      'DISTRIBUTION',
      'CONNECTIONS',
      'BACKENDS',
      'LEAST',
      'MEAN',
      'MOST',
      'DEVIATION',
      'MOST/FAIR',
      'CHI-SQUARED',
    ],
    [
      ...steps.map(({ number, traffic }) => distribution(`step ${number}`, traffic?.distribution)),
      distribution('open at the end', total.distribution),
    ].flat(),
  );
  section(
    ['DROPS', 'COUNT', 'IN STEPS'],
    total.drops.map(({ reason, count }) => {
      const where = steps.filter(({ drops }) => drops.some((drop) => drop.reason === reason));
      return [reason, `${count}`, where.map(({ number }) => number).join(', ')];
    }),
  );
  section(
    ['MAP', 'LEAST', 'MEAN', 'MOST', 'ROOM', 'PRESSURE'],
    steps.at(-1)!.maps.map(({ name, least, mean, most, maxEntries, pressure }) => {
      const text = percent(pressure);
      const cell: Cell = pressure > 0.9 ? { text, style: 'red' } : text;
      return [name, `${least}`, `${mean}`, `${most}`, `${maxEntries}`, cell];
    }),
  );
}

function section(header: readonly string[], rows: readonly (readonly Cell[])[]): void {
  if (rows.length === 0) return;
  printLine();
  process.stdout.write(formatTable(header, rows));
}

const longestText = 60;

function shortened(text: string): string {
  return text.length > longestText ? `${text.slice(0, longestText - 3)}...` : text;
}

/** Returns the cells after a step's name. */
function outcome(
  traffic: TrafficReport | undefined,
  disruption: Disruption | undefined,
  drops: readonly ReasonCount[],
): Cell[] {
  const dropped = drops.reduce((sum, { count }) => sum + count, 0);
  const connected =
    traffic && traffic.attempts > 0 ? `${traffic.connected} of ${traffic.attempts}` : '-';
  const all = traffic && traffic.connected < traffic.attempts;
  return [
    all ? { text: connected, style: 'yellow' } : connected,
    ...(disruption ? shares(disruption) : ['-', '-', '-', '-', '-', '-']),
    dropped > 0 ? { text: `${dropped}`, style: 'yellow' } : '0',
  ];
}

function shares({ open, kept, moved, reset, changedShare, idealShare }: Disruption): Cell[] {
  return [
    ...[`${open}`, `${kept}`, `${moved}`, `${reset}`],
    { text: percent(changedShare), style: 'bold' },
    { text: percent(idealShare), style: 'bold' },
  ];
}

function notesOf({ number, events, traffic, disruption, failures }: StepReport): string[] {
  const notes = [...events];
  for (const what of ['refused', 'reset', 'unanswered'] as const) {
    if (traffic && traffic[what] > 0) notes.push(`${traffic[what]} of ${traffic.attempts} ${what}`);
  }
  if (disruption) {
    const { reset, resetToSame, resetToOther, resetToNone, pathGone, clientsGone } = disruption;
    if (reset > 0) {
      notes.push(
        `of ${reset} broken connections, ${resetToSame} reconnected to the same backend, ${resetToOther} to another one, ${resetToNone} to none`,
      );
    }
    if (pathGone > 0)
      notes.push(`for ${pathGone} the node with the state of the connection is down`);
    if (clientsGone > 0) notes.push(`${counted(clientsGone, 'client')} failed with their node`);
  }
  for (const { reason, count } of failures) {
    notes.push(styled('red', `${counted(count, 'row')} not programmed: ${reason}`));
  }
  return notes.map((note) => `${styled('dim', `step ${number}:`)} ${note}`);
}

function distribution(name: string, found: Distribution | undefined): Cell[][] {
  if (!found) return [];
  const { connections, backends, least, mean, most, deviation } = found;
  const { mostOverFair, chiSquared, degreesOfFreedom } = found;
  return [
    [
      ...[name, `${connections}`, `${backends}`, `${least}`, `${mean}`, `${most}`, `${deviation}`],
      `${mostOverFair}`,
      `${chiSquared} (${degreesOfFreedom} degrees of freedom)`,
    ],
  ];
}

function percent(share: number): string {
  return `${(share * 100).toFixed(2)} %`;
}
