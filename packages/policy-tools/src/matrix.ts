import { judge, type PolicyWorld } from '@heddle/policy';
import { verdictSentences } from './explain.ts';
import { addressPair, groupPods, type PodGroup } from './groups.ts';
import { type AllowedPorts, allowedPorts, allowedText } from './ports.ts';
import type { AnyProtocol } from './texts.ts';

/** A port of a matrix. */
export interface MatrixPort {
  readonly protocol: AnyProtocol;
  /** Host order; 0 for `other`. */
  readonly port: number;
}

/** The connections that one group of pods may make to another one. */
export interface MatrixCell {
  readonly from: string;
  readonly to: string;
  /** The ports that are allowed, as text: `all`, `none`, `TCP/80`. With a port: `allowed` or `denied`. */
  readonly verdict: string;
  readonly allowed: boolean;
  /** All ports that are allowed; undefined with a port. */
  readonly ports: AllowedPorts | undefined;
  /** The reasons of the verdicts, for egress and for ingress; empty without a port. */
  readonly egress: readonly string[];
  readonly ingress: readonly string[];
}

export interface Matrix {
  readonly port: MatrixPort | undefined;
  readonly groups: readonly PodGroup[];
  /** By client, then by destination. A single pod has no cell with itself. */
  readonly cells: readonly MatrixCell[];
}

/**
 * Returns who may connect to whom: all ports, or one port. `isShown` selects the pods. Pods whose verdicts are equal are
 * in one group. Returns undefined if there are more pairs of groups than `mostPairs`.
 */
export function matrixOf(
  world: PolicyWorld,
  port: MatrixPort | undefined,
  isShown: (namespace: string) => boolean,
  mostPairs: number,
): Matrix | undefined {
  const pods = [...world.pods.values()].filter(({ namespace }) => isShown(namespace));
  const groups = groupPods(world, pods);
  if (groups.length ** 2 > mostPairs) return undefined;
  const cells = groups.flatMap((from) =>
    groups.flatMap((to): MatrixCell[] => {
      const [client, server] = addressPair(from.pods, to.pods);
      if (client === undefined || server === undefined) return [];
      return [{ from: from.name, to: to.name, ...cellOf(world, client, server, port) }];
    }),
  );
  return { port, groups, cells };
}

function cellOf(
  world: PolicyWorld,
  from: string,
  to: string,
  port: MatrixPort | undefined,
): Omit<MatrixCell, 'from' | 'to'> {
  if (port === undefined) {
    const ports = allowedPorts(world, from, to);
    const verdict = allowedText(ports);
    return { verdict, allowed: verdict !== 'none', ports, egress: [], ingress: [] };
  }
  const { allowed, egress, ingress } = judge(world, { from, to, ...port });
  return {
    verdict: allowed ? 'allowed' : 'denied',
    allowed,
    ports: undefined,
    egress: verdictSentences('egress', egress),
    ingress: verdictSentences('ingress', ingress),
  };
}

/** Returns a matrix as CSV (RFC 4180), with a header. */
export function matrixCsv({ port, cells }: Matrix): string {
  const header = ['from', 'to', 'protocol', 'port', 'verdict', 'egress', 'ingress'];
  const rows = cells.map(({ from, to, verdict, egress, ingress }) => [
    ...[from, to, port?.protocol ?? '', port ? `${port.port}` : '', verdict],
    ...[egress.join('; '), ingress.join('; ')],
  ]);
  return [header, ...rows].map((row) => `${row.map(csvField).join(',')}\r\n`).join('');
}

function csvField(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
