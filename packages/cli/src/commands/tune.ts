import type { AgentStatus, EffectiveConfig } from '@heddle/agent';
import { ControlClient } from '@heddle/control';
import { exitCodes } from '@heddle/control/failure';
import { nodePlatform } from '@heddle/sys/node';
import {
  type AgentAnswers,
  applyChanges,
  examine,
  type Finding,
  inAgentNamespace,
  journalFile,
  type Known,
  keyOf,
  nodeSettings,
  type Outcome,
  readFacts,
  revertChanges,
  type State,
  valueIfKnown,
} from '@heddle/tune';
import { type Cell, formatFacts, type OutputFormat, printJson, printLine } from '../print.ts';

interface Options {
  readonly apply?: true;
  readonly revert?: true;
  readonly all?: true;
  readonly state: string;
  readonly socket: string;
  readonly output: OutputFormat;
}

/**
 * `heddle tune`: shows settings of the node that cost packets or time; `--apply` changes them and
 * `--revert` restores them.
 */
export async function tune(options: Options): Promise<void> {
  const { apply, revert, all, state, socket, output } = options;
  const platform = nodePlatform();
  const answers = await askAgent(socket);
  const store = journalFile(platform, state);
  const settings = () => nodeSettings(platform, valueIfKnown(answers)?.config.sysctls);
  if (revert) {
    const restore = () => revertChanges(settings(), store);
    report(inAgentNamespace(platform, valueIfKnown(answers), restore), 'restored', output);
    return;
  }
  const findings = examineNode(answers);
  if (apply) {
    const changes = findings.flatMap((finding) => finding.changes ?? []);
    const change = () => applyChanges(changes, settings(), store);
    report(inAgentNamespace(platform, valueIfKnown(answers), change), 'changed', output);
    return;
  }
  if (output === 'json') printJson({ findings: findings.map(({ changes, ...rest }) => rest) });
  else process.stdout.write(describe(findings, all ?? false));
}

/** Returns what the checks find on the node of the agent. Throws Error. */
export function examineNode(answers: Known<AgentAnswers>): Finding[] {
  const platform = nodePlatform();
  const read = () => readFacts(platform, answers);
  return examine(inAgentNamespace(platform, valueIfKnown(answers), read));
}

/** Returns the answers of the agent, or the reason why there are none: most checks do without. */
async function askAgent(socket: string): Promise<Known<AgentAnswers>> {
  try {
    using client = await ControlClient.connect(socket);
    const status = (await client.request('status')) as AgentStatus;
    const config = (await client.request('config.get')) as EffectiveConfig;
    return { value: { status, config } };
  } catch (error) {
    return { unknown: (error as Error).message };
  }
}

const styles = { good: 'green', improve: 'yellow', wrong: 'red', unknown: 'dim' } as const;
const order: readonly State[] = ['wrong', 'improve', 'unknown', 'good'];

function describe(findings: readonly Finding[], all: boolean): string {
  const shown = order
    .filter((state) => all || state !== 'good')
    .flatMap((state) => findings.filter((finding) => finding.state === state));
  const counts = order.map((state) => {
    const count = findings.filter((finding) => finding.state === state).length;
    return `${count} ${state}`;
  });
  const canApply = findings.filter((finding) => finding.canApply).length;
  const hint = canApply > 0 ? `; heddle tune --apply changes ${canApply} of them` : '';
  return `${shown.map(paragraph).join('')}${counts.join(', ')}${hint}\n`;
}

function paragraph(finding: Finding): string {
  const { name, subject, state, found, recommended, reason, risk, command, canApply } = finding;
  const title: Cell = {
    text: [state, subject ?? ''].filter(Boolean).join('  '),
    style: styles[state],
  };
  const lines: [string, Cell][] = [
    [name, title],
    ['  found', found],
  ];
  if (recommended !== undefined) {
    lines.push(['  recommended', recommended], ['  reason', reason], ['  risk', risk]);
    if (command !== undefined) lines.push(['  by hand', command]);
    lines.push(['  --apply', canApply ? 'changes it' : 'leaves it to you']);
  }
  return `${formatFacts(lines)}\n`;
}

/** Prints what was changed or restored; a problem with a setting sets the exit code. */
function report(outcomes: readonly Outcome[], word: string, output: OutputFormat): void {
  if (outcomes.some(({ problem }) => problem !== undefined)) process.exitCode = exitCodes.failed;
  if (output === 'json') {
    printJson({ [word]: outcomes });
    return;
  }
  for (const { target, before, after, problem } of outcomes) {
    const what = `${keyOf(target)}: ${before || '?'} -> ${after}`;
    printLine(problem === undefined ? `${word}  ${what}` : `failed  ${what}: ${problem}`);
  }
  if (outcomes.length === 0) printLine(`nothing to be ${word}`);
}
