import { formatEndpoint } from '@heddle/sys';
import { type OutputFormat, printJson, printLine, styled } from '../print.ts';
import type { Asked } from '../trace/question.ts';
import { trace as explain, type HookTrace, type Step, type Trace } from '../trace/trace.ts';
import { openDump } from './dump.ts';

interface Options extends Asked {
  readonly step?: true;
  readonly socket: string;
  readonly bpffs: string;
  readonly fromDump?: string;
  readonly output: OutputFormat;
}

const colours = {
  translated: 'green',
  passed: 'green',
  refused: 'red',
  rejected: 'red',
  dropped: 'red',
} as const;

/** `heddle trace`: what becomes of a connection or a packet, and why. Changes nothing. */
export async function trace(options: Options): Promise<void> {
  const { step, socket, bpffs, fromDump, output, ...asked } = options;
  const dump = await openDump({ socket, bpffs, ...(fromDump === undefined ? {} : { fromDump }) });
  const found = explain(dump, asked, step === true);
  if (output === 'json') {
    // 64-bit integers as text, as JSON knows none.
    printJson(
      JSON.parse(
        JSON.stringify(found, (_, value) => (typeof value === 'bigint' ? `${value}` : value)),
      ),
    );
    return;
  }
  describe(found, fromDump);
}

function describe(
  { question, of, notes, hooks, verdict }: Trace,
  fromDump: string | undefined,
): void {
  const { source, namespace, address, port, protocol, at } = question;
  const names = namespace?.names.length ? ` (${namespace.names.join(', ')})` : '';
  const what = at === 'socket' ? 'a socket' : 'a packet';
  printLine(
    `${what} of ${source}${names} to ${formatEndpoint(address, port)}, ${protocol.toUpperCase()}`,
  );
  const when = fromDump === undefined ? 'as the node is now' : `as the node was at ${of.created}`;
  printLine(`${when}; kernel ${of.kernel}, heddle ${of.heddle}`);
  for (const hook of hooks) describeHook(hook);
  printLine();
  for (const note of notes) printLine(styled('yellow', `note: ${note}`));
  printLine(
    `${styled('bold', 'verdict:')} ${styled(colours[verdict.outcome], `${verdict.outcome}; ${verdict.text}`)}`,
  );
  if (verdict.packet !== undefined) printLine(`packet: ${verdict.packet}`);
}

function describeHook({ hook, program, same, steps, result }: HookTrace): void {
  const which = program ? `program ${program.id}, tag ${program.tag}` : 'program not known';
  const whether =
    same === undefined ? '' : same ? ', as in the object' : ', not that of the object';
  printLine();
  printLine(styled('bold', `${hook} (${which}${whether})`));
  const withLines = steps.some(({ kind }) => kind === 'line');
  let last: string | undefined;
  for (const step of steps) {
    // Programs look the same thing up where they need it again.
    if (!withLines && step.kind === 'entry' && step.meaning === last) continue;
    const text = describeStep(step, withLines);
    if (text === undefined) continue;
    printLine(`  ${text}`);
    if (step.kind !== 'line') last = step.meaning;
  }
  printLine(`  => ${result}`);
}

function describeStep(step: Step, withLines: boolean): string | undefined {
  if (step.kind === 'line') return styled('dim', step.source);
  if (step.kind === 'route') return step.meaning;
  const { map, action, key, value, meaning, source } = step;
  if (meaning === undefined && !withLines) return undefined;
  const entry = `${map}[${JSON.stringify(key)}]${value === undefined ? (action === 'lookup' ? ': none' : '') : ` = ${JSON.stringify(value)}`}`;
  if (withLines) return `${action} ${entry}${meaning === undefined ? '' : `: ${meaning}`}`;
  const place =
    source === undefined ? '' : styled('dim', `\n      ${source.split(': ')[0]}  ${entry}`);
  return `${meaning}${place}`;
}
