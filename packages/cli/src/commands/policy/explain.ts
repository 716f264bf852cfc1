import { exitCodes, Failure } from '@heddle/control/failure';
import {
  type AnyProtocol,
  type Explanation,
  explain,
  questionPortText,
  type ShownDirection,
} from '@heddle/policy-tools';
import { type OutputFormat, printJson, printLine, styled } from '../../print.ts';
import { answered, type ClusterOptions, openCluster } from './cluster.ts';

interface Options extends ClusterOptions {
  readonly from: string;
  readonly to: string;
  readonly port?: number;
  readonly protocol: string;
  readonly name?: string;
  readonly output: OutputFormat;
}

/** Returns the protocol of an option: `tcp`, `udp`, `sctp`, or `icmp` for all without ports. */
export function protocolOf(text: string): AnyProtocol {
  return text === 'icmp' ? 'other' : (text.toUpperCase() as AnyProtocol);
}

/** `heddle policy explain`: whether a connection is allowed, and which rule of which policy decides. */
export async function policyExplain(options: Options): Promise<void> {
  const { from, to, name, output } = options;
  const protocol = protocolOf(options.protocol);
  const port = protocol === 'other' ? 0 : options.port;
  if (port === undefined) {
    throw new Failure(
      exitCodes.usage,
      'explain connection: --port is missing (only icmp has none)',
    );
  }
  const cluster = await openCluster(options);
  const names = name === undefined ? [] : [name.toLowerCase().replace(/\.$/, '')];
  const all = answered(() => explain(cluster, { from, to, protocol, port, names }));
  if (output === 'json') {
    printJson({ connections: all });
    return;
  }
  for (const [i, each] of all.entries()) {
    if (i > 0) printLine();
    printExplanation(each);
  }
}

/** Prints the verdict on a connection, with its reasons. */
export function printExplanation(explanation: Explanation): void {
  const { from, to, protocol, allowed, egress, ingress } = explanation;
  const verdict = allowed ? styled('green', 'allowed') : styled('red', 'denied');
  const end = ({ label, address }: typeof from) =>
    label.includes(address) ? label : `${label} (${address})`;
  const service = to.service === undefined ? '' : ` of service ${to.service}`;
  printLine(
    `${verdict}  ${end(from)} > ${end(to)}${service}, ${questionPortText(protocol, to.port)}`,
  );
  printDirection(egress);
  printDirection(ingress);
}

function printDirection({ direction, pod, allowed, sentences }: ShownDirection): void {
  const mark = allowed ? styled('green', 'allows') : styled('red', 'denies');
  const title = `  ${direction.padEnd(7)}  ${pod === undefined ? '      ' : mark}  `;
  const [first = '', ...others] = sentences;
  printLine(`${title}${first}`);
  for (const sentence of others) printLine(`${' '.repeat(19)}${sentence}`);
}
