import type { VerdictRule } from '@heddle/agent';
import type { ControlClient } from '@heddle/control';
import { type ClusterObjects, explainFlow } from '@heddle/policy-tools';
import { clusterOfAgent } from './cluster.ts';

/** The time for which the agent's objects are used, in milliseconds. */
const objectsMs = 5000;

/** A connection that is denied by default. */
export interface Denial {
  readonly source: string;
  readonly destination: string;
  readonly protocol: string;
  readonly destinationPort: number;
  readonly direction?: 'egress' | 'ingress';
}

/** Explains what no rule allows, by the objects of an agent, which are requested again when they are old. */
export class DenialReasons {
  readonly #client: ControlClient;
  #objects: Promise<ClusterObjects> | undefined;
  #atMs = 0;

  constructor(client: ControlClient) {
    this.#client = client;
  }

  /** Returns sentences: the policies that isolate the pod, and the rules that come nearest. */
  async of({
    source,
    destination,
    protocol,
    destinationPort: port,
    direction = 'ingress',
  }: Denial): Promise<readonly string[]> {
    if (!this.#objects || Date.now() - this.#atMs > objectsMs) {
      this.#atMs = Date.now();
      this.#objects = clusterOfAgent(this.#client);
    }
    return explainFlow(await this.#objects, { source, destination, protocol, port }, direction);
  }
}

/** Handles what an agent reports, in its order also where the handler waits, until the connection ends. */
export async function followInOrder<Entry>(
  client: ControlClient,
  method: 'drops.follow' | 'policy.verdicts',
  handle: (entry: Entry) => Promise<void>,
): Promise<void> {
  let last: Promise<void> = Promise.resolve();
  let failure: unknown;
  await client
    .follow<Entry>((entry) => {
      last = last
        .then(() => handle(entry))
        .catch((error: unknown) => {
          failure ??= error;
          client[Symbol.dispose]();
        });
    }, method)
    .catch((error: unknown) => {
      throw failure ?? error;
    });
}

/** Returns a rule as `ingress[0] "name" of POLICY`; empty without a rule. */
export function ruleText(
  direction: string,
  rule: Pick<VerdictRule, 'policy' | 'rule' | 'name'> | undefined,
): string {
  if (rule === undefined) return '';
  const name = rule.name === undefined ? '' : ` "${rule.name}"`;
  return `${direction}[${rule.rule}]${name} of ${rule.policy}`;
}
