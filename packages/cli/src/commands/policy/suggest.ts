import { exitCodes, Failure } from '@heddle/control/failure';
import { suggestPolicies } from '@heddle/policy-tools';
import { printJson, printLine } from '../../print.ts';
import { type ClusterOptions, openCluster } from './cluster.ts';
import { readFlows, withDump } from './flows.ts';

interface Options extends ClusterOptions {
  readonly fromFlows: string;
  readonly namespace: string;
  readonly direction?: 'ingress' | 'egress';
  readonly dns: boolean;
  readonly output: 'yaml' | 'json';
}

/** `heddle policy suggest`: prints NetworkPolicies that allow the connections that were seen. */
export async function policySuggest(options: Options): Promise<void> {
  const { namespace, direction, dns, output } = options;
  const { flows } = await readFlows(options.fromFlows, options.socket);
  const cluster = await openCluster(withDump(options, options.fromFlows));
  const directions = direction ? [direction] : (['ingress', 'egress'] as const);
  const { policies, yaml, notes } = suggestPolicies(cluster, flows, {
    ...{ namespace, directions, addDns: dns },
  });
  for (const note of notes) process.stderr.write(`heddle: ${note}\n`);
  if (policies.length === 0) {
    throw new Failure(
      exitCodes.failed,
      `suggest policies: none of the ${flows.length} connections is of a pod of namespace ${namespace} (connections between pods without policies are not in the flow table; docs/policy.md shows how they get there)`,
    );
  }
  if (output === 'json') printJson({ apiVersion: 'v1', kind: 'List', items: policies });
  else printLine(yaml.trimEnd());
}
