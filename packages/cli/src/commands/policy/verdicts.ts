import type { FeedLoss, VerdictEntry } from '@heddle/agent';
import { ControlClient } from '@heddle/control';
import { type OutputFormat, printLine, styled } from '../../print.ts';
import { endpoint, fullName } from '../service.ts';
import { DenialReasons, followInOrder, ruleText } from './reasons.ts';

interface Options {
  readonly socket: string;
  readonly denied?: boolean;
  readonly pod?: string;
  readonly namespace?: string;
  readonly output: OutputFormat;
}

const colours = { allowed: 'green', denied: 'red', 'would-deny': 'yellow' } as const;

/** `heddle policy verdicts`: prints each verdict as it is made; as JSON, one object in each line. */
export async function policyVerdicts(options: Options): Promise<void> {
  const { socket, output } = options;
  using client = await ControlClient.connect(socket);
  using asking = await ControlClient.connect(socket);
  const reasons = new DenialReasons(asking);
  const print = async (entry: VerdictEntry) => {
    const why = needsReason(entry) ? await reasons.of(entry) : [];
    if (output === 'json') printLine(JSON.stringify({ ...entry, ...(why.length > 0 && { why }) }));
    else printVerdict(entry, why);
  };
  await followInOrder<VerdictEntry | FeedLoss>(client, 'policy.verdicts', async (entry) => {
    if (!('lost' in entry)) {
      if (isWanted(entry, options)) await print(entry);
      return;
    }
    process.stderr.write(
      `heddle: ${entry.lost} verdicts are missing here: there were too many in a second
`,
    );
  });
}

function isWanted(entry: VerdictEntry, { denied, pod, namespace }: Options): boolean {
  const pods = [entry.sourcePod, entry.destinationPod];
  if (denied && entry.outcome === 'allowed') return false;
  if (pod !== undefined && !pods.includes(fullName(pod))) return false;
  return namespace === undefined || pods.some((each) => each?.startsWith(`${namespace}/`));
}

/** Returns true if no rule has denied the connection. */
function needsReason({ outcome, direction, egressRule, ingressRule }: VerdictEntry): boolean {
  if (outcome === 'allowed') return false;
  return (direction === 'egress' ? egressRule : ingressRule) === undefined;
}

function printVerdict(entry: VerdictEntry, why: readonly string[]): void {
  const { outcome, protocol, direction, egressRule, ingressRule } = entry;
  const end = (address: string, port: number, pod: string | undefined) =>
    `${pod === undefined ? '' : `${pod} `}${endpoint({ address, port })}`;
  const from = end(entry.source, entry.sourcePort, entry.sourcePod);
  const to = end(entry.destination, entry.destinationPort, entry.destinationPod);
  const rules = [ruleText('egress', egressRule), ruleText('ingress', ingressRule)].filter(Boolean);
  const by =
    rules.length > 0 ? rules.join(', ') : direction === undefined ? '' : `${direction}: by default`;
  printLine(`${styled(colours[outcome], outcome.padEnd(10))}  ${protocol}  ${from} > ${to}  ${by}`);
  for (const sentence of why) printLine(`            ${styled('dim', sentence)}`);
}
