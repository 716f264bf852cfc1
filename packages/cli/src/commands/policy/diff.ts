import { exitCodes, Failure } from '@heddle/control/failure';
import type { ObjectChange } from '@heddle/objects';
import type { PolicyRecord } from '@heddle/policy';
import { counted, diffFlows, diffPairs, type FlowChange } from '@heddle/policy-tools';
import { type Cell, formatTable, type OutputFormat, printJson, printLine } from '../../print.ts';
import { type ClusterOptions, openCluster, printAssumptions } from './cluster.ts';
import { readFlows, withDump } from './flows.ts';
import { readManifests } from './manifests.ts';
import { mostPairs } from './matrix.ts';

interface Options extends ClusterOptions {
  readonly apply: string;
  readonly delete?: boolean;
  readonly flows?: string;
  readonly output: OutputFormat;
}

/** `heddle policy diff`: the connections whose verdict changes if policies are applied or deleted. */
export async function policyDiff(options: Options): Promise<void> {
  const { apply, flows: source, output } = options;
  const changes = policyChanges(apply, options.delete ?? false);
  const before = await openCluster(withDump(options, source));
  const after = before.with(changes);
  if (source !== undefined) {
    const { flows, node } = await readFlows(source, options.socket);
    const diff = diffFlows(before, after, flows, node);
    if (output === 'json') printJson(diff);
    else {
      if (diff.changes.length > 0) process.stdout.write(flowTable(diff.changes));
      const changed = diff.changes.reduce((sum, { connections }) => sum + connections, 0);
      printLine(
        `${counted(changed, 'connection')} of ${diff.connections} would change ${changed === 1 ? 'its verdict' : 'their verdicts'}`,
      );
      printAssumptions(before);
    }
    return;
  }
  const pairs = diffPairs(before, after, mostPairs);
  if (pairs === undefined) {
    throw new Failure(
      exitCodes.failed,
      'compare policies: there are too many pairs of pods (compare connections with --flows)',
    );
  }
  if (output === 'json') printJson({ pairs });
  else {
    if (pairs.length > 0) {
      const rows = pairs.map((pair): Cell[] => [
        ...[pair.from, pair.to, pair.before],
        { text: pair.after, style: pair.after === 'none' ? 'red' : 'yellow' },
      ]);
      process.stdout.write(formatTable(['FROM', 'TO', 'ALLOWED NOW', 'ALLOWED THEN'], rows));
    }
    printLine(`${counted(pairs.length, 'pair')} of pods would change what is allowed`);
    printAssumptions(before);
  }
}

function policyChanges(path: string, isDeleted: boolean): readonly ObjectChange<PolicyRecord>[] {
  const { changes, problems } = readManifests(path, 'read policies');
  const [problem] = problems;
  if (problem) {
    const { file, line, message } = problem;
    throw new Failure(exitCodes.failed, `read policies ${file}:${line}: ${message}`);
  }
  const policies = changes.flatMap((change): ObjectChange<PolicyRecord>[] => {
    if (change.op !== 'set') return [];
    const { object } = change;
    if (object.kind !== 'networkPolicy' && object.kind !== 'clusterNetworkPolicy') return [];
    const { kind, namespace, name } = object;
    return [isDeleted ? { op: 'delete', kind, namespace, name } : { op: 'set', object }];
  });
  if (policies.length > 0) return policies;
  throw new Failure(
    exitCodes.failed,
    `read policies ${path}: it has no NetworkPolicy and no ClusterNetworkPolicy`,
  );
}

function flowTable(changes: readonly FlowChange[]): string {
  return formatTable(
    ['WOULD BE', 'FROM', 'TO', 'PORT', 'CONNECTIONS', 'WHY'],
    changes.map(({ allowed, from, to, port, connections, why }): Cell[] => [
      allowed ? { text: 'allowed', style: 'green' } : { text: 'denied', style: 'red' },
      ...[from, to, port, `${connections}`, why.join('; ')],
    ]),
  );
}
