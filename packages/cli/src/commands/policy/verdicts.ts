import type { VerdictEntry, VerdictLoss, VerdictRule } from '@heddle/agent';
import { ControlClient } from '@heddle/control';
import { type ClusterObjects, explainFlow } from '@heddle/policy-tools';
import { type OutputFormat, printLine, styled } from '../../print.ts';
import { endpoint, fullName } from '../service.ts';
import { clusterOfAgent } from './cluster.ts';

interface Options {
  readonly socket: string;
  readonly denied?: boolean;
  readonly pod?: string;
  readonly namespace?: string;
  readonly output: OutputFormat;
}

const colours = { allowed: 'green', denied: 'red', 'would-deny': 'yellow' } as const;

/** The time for which the agent's objects are used to explain what is denied by default, in milliseconds. */
const objectsMs = 5000;

/** `heddle policy verdicts`: prints each verdict as it is made; as JSON, one object in each line. */
export async function policyVerdicts(options: Options): Promise<void> {
  const { socket, output } = options;
  using client = await ControlClient.connect(socket);
  using asking = await ControlClient.connect(socket);
  const objects = new RecentObjects(asking);
  // Lines are in the order of the verdicts, also if one waits for objects.
  let last: Promise<void> = Promise.resolve();
  let failure: unknown;
  const print = async (entry: VerdictEntry) => {
    const why = needsReason(entry) ? reasonOf(await objects.get(), entry) : [];
    if (output === 'json') printLine(JSON.stringify({ ...entry, ...(why.length > 0 && { why }) }));
    else printVerdict(entry, why);
  };
  await client
    .follow<VerdictEntry | VerdictLoss>((entry) => {
      if ('lost' in entry) {
        process.stderr.write(
          `heddle: ${entry.lost} verdicts are missing here: there were too many in a second\n`,
        );
        return;
      }
      if (!isWanted(entry, options)) return;
      last = last
        .then(() => print(entry))
        .catch((error: unknown) => {
          failure ??= error;
          client[Symbol.dispose]();
        });
    }, 'policy.verdicts')
    .catch((error: unknown) => {
      throw failure ?? error;
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

function reasonOf(cluster: ClusterObjects, entry: VerdictEntry): readonly string[] {
  const { source, destination, protocol, destinationPort: port, direction = 'ingress' } = entry;
  return explainFlow(cluster, { source, destination, protocol, port }, direction);
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

function ruleText(direction: string, rule: VerdictRule | undefined): string {
  if (rule === undefined) return '';
  const name = rule.name === undefined ? '' : ` "${rule.name}"`;
  return `${direction}[${rule.rule}]${name} of ${rule.policy}`;
}

/** The objects of the agent, which are requested again when they are old. */
class RecentObjects {
  readonly #client: ControlClient;
  #objects: Promise<ClusterObjects> | undefined;
  #atMs = 0;

  constructor(client: ControlClient) {
    this.#client = client;
  }

  get(): Promise<ClusterObjects> {
    if (!this.#objects || Date.now() - this.#atMs > objectsMs) {
      this.#atMs = Date.now();
      this.#objects = clusterOfAgent(this.#client);
    }
    return this.#objects;
  }
}
