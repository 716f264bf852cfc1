import type { ManifestObject } from '../node-network-lab.ts';
import type { PodSpec } from './policy-lab.ts';
import type { ProbeProtocol } from './prober.ts';

/** A request between pods, and whether policies allow it. */
export interface ExpectedProbe {
  /** `namespace/name`. */
  readonly from: string;
  readonly to: string;
  readonly protocol: ProbeProtocol;
  /** 0 for ICMP. */
  readonly port: number;
  readonly allowed: boolean;
}

/** All objects at a time, and what they allow. */
export interface PolicyStep {
  readonly namespaces: ReadonlyMap<string, Readonly<Record<string, string>>>;
  readonly pods: readonly PodSpec[];
  readonly policies: readonly ManifestObject[];
  readonly expected: readonly ExpectedProbe[];
}

export interface PolicyCase {
  readonly title: string;
  readonly steps: readonly PolicyStep[];
}

/** Rows of `.` (allowed), `X` (denied) and `-` (not probed): a row for each client, a character for each server. */
export type ReachTable = Readonly<Record<string, string>>;

/** Returns the probes of a table whose columns are `order`; a pod is not probed against itself. */
export function probesOfTable(
  table: ReachTable,
  order: readonly string[],
  protocol: ProbeProtocol,
  port: number,
): ExpectedProbe[] {
  return Object.entries(table).flatMap(([from, row]) =>
    order.flatMap((to, i): ExpectedProbe[] => {
      const cell = row[i];
      if (cell !== '.' && cell !== 'X' && cell !== '-') {
        throw new RangeError(`read table row ${from} ${row}: column ${i} is ${cell}`);
      }
      if (cell === '-' || from === to) return [];
      return [{ from, to, protocol, port, allowed: cell === '.' }];
    }),
  );
}

/** Returns a table with a character for each pair of pods, `-` for those without one. */
export function formatTable(
  cells: ReadonlyMap<string, string>,
  clients: readonly string[],
  servers: readonly string[],
): string {
  const width = Math.max(...clients.map(({ length }) => length));
  return clients
    .map((from) => {
      const row = servers.map((to) => cells.get(`${from} ${to}`) ?? '-').join('');
      return `${from.padEnd(width)} ${row}`;
    })
    .join('\n');
}
