import { exitCodes, Failure } from '@heddle/control/failure';
import { type Matrix, type MatrixPort, matrixCsv, matrixOf } from '@heddle/policy-tools';
import { type Cell, formatTable, printJson, printLine } from '../../print.ts';
import { type ClusterOptions, openCluster, printAssumptions } from './cluster.ts';

interface Options extends ClusterOptions {
  readonly port?: MatrixPort;
  readonly namespace?: readonly string[];
  readonly output: 'table' | 'json' | 'csv';
}

/** The most pairs of groups of pods: beyond them, a table is no help and takes minutes. */
export const mostPairs = 250_000;

/** `heddle policy matrix`: who may connect to whom. */
export async function policyMatrix({ port, namespace, output, ...source }: Options): Promise<void> {
  const cluster = await openCluster(source);
  const isShown = (name: string) => namespace === undefined || namespace.includes(name);
  const shown = [...cluster.world.pods.values()].filter((pod) => isShown(pod.namespace));
  if (shown.length === 0) {
    const where = namespace === undefined ? '' : ` in namespace ${namespace.join(', ')}`;
    throw new Failure(exitCodes.failed, `make matrix: no pods are known${where}`);
  }
  const matrix = matrixOf(cluster.world, port, isShown, mostPairs);
  if (matrix === undefined) {
    throw new Failure(
      exitCodes.failed,
      `make matrix: there are more than ${mostPairs.toLocaleString('en')} pairs of pods (name some namespaces with --namespace)`,
    );
  }
  if (output === 'json') printJson(matrixJson(matrix));
  else if (output === 'csv') process.stdout.write(matrixCsv(matrix));
  else {
    process.stdout.write(port === undefined ? listTable(matrix) : gridTable(matrix));
    printLine();
    printLine(`${matrix.groups.length} groups of pods with equal verdicts, ${shown.length} pods`);
    printAssumptions(cluster);
  }
}

function matrixJson({ port, groups, cells }: Matrix): object {
  return {
    port,
    groups: groups.map(({ name, pods }) => ({
      name,
      pods: pods.map((pod) => `${pod.namespace}/${pod.name}`),
    })),
    cells,
  };
}

/** Returns a line for each pair of groups. */
function listTable({ cells }: Matrix): string {
  return formatTable(
    ['FROM', 'TO', 'ALLOWED'],
    cells.map(({ from, to, verdict, allowed }): Cell[] => {
      const style = verdict === 'all' ? 'green' : allowed ? 'yellow' : 'red';
      return [from, to, { text: verdict, style }];
    }),
  );
}

/** Returns a line for each client and a column, by number, for each destination. */
function gridTable({ groups, cells }: Matrix): string {
  const byPair = new Map(cells.map((cell) => [`${cell.from}\n${cell.to}`, cell]));
  const header = ['', 'FROM \\ TO', ...groups.map((_, i) => `${i + 1}`)];
  const rows = groups.map((from, i): Cell[] => [
    `${i + 1}`,
    from.pods.length > 1 ? `${from.name} (${from.pods.length} pods)` : from.name,
    ...groups.map((to): Cell => {
      const cell = byPair.get(`${from.name}\n${to.name}`);
      if (!cell) return '.';
      return cell.allowed ? { text: 'yes', style: 'green' } : { text: 'no', style: 'red' };
    }),
  ]);
  return formatTable(header, rows);
}
