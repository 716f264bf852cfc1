import {
  type Dump,
  DumpedControl,
  trace as explain,
  type HookTrace,
  type Step,
  type Trace,
  type TraceRequest,
  traceBeyond,
} from '@heddle/inspect';
import { openDump } from '@heddle/inspect/open';
import { Packet } from '@heddle/lab';
import { type Explanation, explain as explainPolicies, ToolError } from '@heddle/policy-tools';
import { formatEndpoint } from '@heddle/sys';
import { type OutputFormat, printJson, printLine, styled } from '../print.ts';
import { clusterOfAgent } from './policy/cluster.ts';
import { printExplanation, protocolOf } from './policy/explain.ts';

interface Options extends TraceRequest {
  readonly step?: true;
  readonly socket: string;
  readonly bpffs?: string;
  readonly fromDump?: string;
  readonly thenDump?: string;
  readonly output: OutputFormat;
}

const colours = {
  translated: 'green',
  tunnelled: 'green',
  passed: 'green',
  answered: 'green',
  refused: 'red',
  rejected: 'red',
  dropped: 'red',
} as const;

/** The backends for which the verdicts of policies are printed. */
const shownPolicies = 3;

/** `heddle trace`: explains what happens to a connection or a packet, and why. Changes nothing. */
export async function trace(options: Options): Promise<void> {
  const { step, socket, bpffs, fromDump, thenDump, output, ...request } = options;
  const dump = await openDump({
    ...{ socket, bpffs },
    ...(fromDump === undefined ? {} : { fromDump }),
  });
  if (thenDump === undefined) {
    const found = explain(dump, request, step === true);
    const policies = await policyVerdicts(dump, found);
    if (output === 'json') printTraces(policies.length > 0 ? { ...found, policies } : found);
    else {
      describe(found, fromDump);
      for (const each of policies.slice(0, shownPolicies)) {
        printLine();
        printExplanation(each);
      }
    }
    return;
  }
  const other = await openDump({ socket, fromDump: thenDump });
  const followed = traceBeyond(dump, other, request, step === true);
  if (output === 'json') {
    printTraces(followed);
    return;
  }
  const { parts, ends } = followed;
  for (const [i, part] of parts.entries()) {
    const isThere = ends === undefined && i === parts.length - 1;
    if (i > 0) printLine();
    if (isThere) printLine(styled('bold', `at the other node (${thenDump}):`));
    describe(part, isThere ? thenDump : fromDump);
  }
  if (ends !== undefined)
    printLine(`\nthe path does not go on at the node of ${thenDump}: ${ends}`);
}

/**
 * Returns what network policies say about the connection of a trace, with each backend that it may get; nothing for
 * replies, and if the dump has no policies.
 */
async function policyVerdicts(dump: Dump, { question }: Trace): Promise<readonly Explanation[]> {
  const { source, address, port, protocol, reply, error, flow } = question;
  const isAbout = reply === true || error !== undefined || flow !== undefined;
  if (isAbout || 'missing' in dump.answers || !dump.answers.lists.has('policy.world')) return [];
  using control = new DumpedControl(dump, 'of the trace');
  const cluster = await clusterOfAgent(control);
  if (cluster.world.policies.size === 0) return [];
  const asked = { from: source, to: address, protocol: protocolOf(protocol), port };
  try {
    return explainPolicies(cluster, asked)
      .filter(({ egress, ingress }) => egress.pod !== undefined || ingress.pod !== undefined)
      .sort((a, b) => Number(a.allowed) - Number(b.allowed));
  } catch (failure) {
    // A service without backends, or a port that it does not have: the programs have the answer.
    if (failure instanceof ToolError) return [];
    throw failure;
  }
}

/** Prints traces as JSON, which has no 64-bit integers: they become text. */
function printTraces(found: object): void {
  const asText = (_: string, value: unknown) => (typeof value === 'bigint' ? `${value}` : value);
  printJson(JSON.parse(JSON.stringify(found, asText)));
}

function describe(
  { question, of, notes, hooks, verdict }: Trace,
  fromDump: string | undefined,
): void {
  printLine(questionText(question));
  const when =
    fromDump === undefined ? 'the node as it is now' : `the node as it was at ${of.created}`;
  printLine(`${when}; kernel ${of.kernel}, heddle ${of.heddle}`);
  for (const hook of hooks) describeHook(hook);
  printLine();
  for (const note of notes) printLine(styled('yellow', `note: ${note}`));
  printLine(
    `${styled('bold', 'verdict:')} ${styled(colours[verdict.outcome], `${verdict.outcome}; ${verdict.text}`)}`,
  );
  if (verdict.packet !== undefined) printLine(`packet: ${verdict.packet}`);
  if (verdict.frame === undefined) return;
  const layers = `${Packet.parse(Buffer.from(verdict.frame, 'hex'))}`.split('\n');
  for (const layer of layers) printLine(styled('dim', `  ${layer}`));
}

/** Returns the question in words. */
function questionText(question: Trace['question']): string {
  const { source, sourcePort, namespace, address, port, protocol, at } = question;
  const { flags, error, reply, flow } = question;
  const names = namespace?.names.length ? ` (${namespace.names.join(', ')})` : '';
  if (at === 'socket') {
    const answer = reply ? ', and the address of its peer' : '';
    return `a socket of ${source}${names} to ${formatEndpoint(address, port)}, ${protocol.toUpperCase()}${answer}`;
  }
  if (protocol === 'icmp') return `an echo request from ${source}${names} to ${address}`;
  const packet = error
    ? `an ICMP error (${error})`
    : `a packet${flags ? ` with ${flags.join('+').toUpperCase()}` : ''}`;
  const of = flow ? `flow ${flow.number}, ` : '';
  const what = reply ? `the backend's reply` : 'the client';
  const from = formatEndpoint(source, sourcePort);
  const ends = `${of}${from}${names} to ${formatEndpoint(address, port)}, ${protocol.toUpperCase()}`;
  if (reply) return `${error ? `${packet} from the backend` : what} in ${ends}`;
  return error ? `${packet} from ${what} in ${ends}` : `${packet} of ${ends}`;
}

function describeHook({ hook, program, same, steps, result, packet }: HookTrace): void {
  const which = program ? `program ${program.id}, tag ${program.tag}` : 'program not known';
  const whether =
    same === undefined ? '' : same ? ', as in the object' : ', differs from the object';
  printLine();
  printLine(
    styled(
      'bold',
      hook === 'stack' ? "stack (this node's own routes)" : `${hook} (${which}${whether})`,
    ),
  );
  const withLines = steps.some(({ kind }) => kind === 'line');
  // Programs look the same element up again where they need it.
  const printed = new Set<string | undefined>();
  for (const step of steps) {
    if (!withLines && step.kind === 'entry' && printed.has(step.meaning)) continue;
    const text = describeStep(step, withLines);
    if (text === undefined) continue;
    printLine(`  ${text}`);
    if (step.kind === 'entry') printed.add(step.meaning);
  }
  printLine(`  => ${result}${packet === undefined ? '' : `: ${packet}`}`);
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
