import type { Findings, Row, Verdict } from './cases/case.ts';
import { allCases } from './options.ts';

/** A caution for readers of the figures. */
export const caution =
  'The machine is shared: absolute figures mean nothing and figures of different runs must not be ' +
  'compared. Ratios are taken round by round within this run; spread is what lies between their ' +
  'lower and upper quarter.';

/** Returns the whole run as text for a terminal. */
export function report(findings: Findings): string {
  const sections = allCases.flatMap(({ name, about }) => {
    const rows = findings.rows.filter((row) => row.case === name);
    return rows.length === 0 ? [] : [`${name}: ${about}\n${rowTable(rows)}`];
  });
  const notes = findings.notes.map((note) => `note: ${note}`);
  return [...sections, verdictTable(findings.verdicts), ...notes, caution].join('\n\n');
}

/** Columns beyond the common ones, in the order in which they are shown. */
const extras: readonly { field: string; title: string; show: (value: number) => string }[] = [
  { field: 'requestsPerSecond', title: 'requests/s', show: (value) => value.toFixed(0) },
  { field: 'p99Us', title: 'p99', show: duration },
  { field: 'p99RatioToDirect', title: 'p99 ratio', show: (value) => value.toFixed(2) },
  { field: 'cpuUsPerRequest', title: 'CPU/request', show: duration },
  { field: 'cpuRatioToDirect', title: 'CPU ratio', show: (value) => value.toFixed(3) },
  { field: 'ratioToRedirect', title: 'to redirect', show: (value) => value.toFixed(2) },
  { field: 'ratioToXdpTx', title: 'to XDP_TX', show: (value) => value.toFixed(2) },
  { field: 'newDuringPercent', title: 'new', show: share },
  { field: 'newAfterPercent', title: 'new, after', show: share },
  { field: 'udpDuringPercent', title: 'UDP', show: share },
  { field: 'udpAfterPercent', title: 'UDP, after', show: share },
  { field: 'lastingPercent', title: 'lasting', show: share },
  { field: 'packetsPerSecond', title: 'sent/s', show: (value) => count(Math.round(value)) },
  { field: 'errors', title: 'errors', show: String },
  { field: 'failedPercent', title: 'failed', show: (value) => `${value.toFixed(2)} %` },
  { field: 'writeCpuMs', title: 'CPU', show: (value) => duration(value * 1000) },
  { field: 'openMs', title: 'loading before', show: (value) => duration(value * 1000) },
  { field: 'cpuUsPerChange', title: 'CPU/change', show: duration },
  { field: 'atStartMiB', title: 'MiB at start', show: (value) => value.toFixed(0) },
  { field: 'medianMiB', title: 'median', show: (value) => value.toFixed(0) },
  { field: 'wakeUps', title: 'wake-ups', show: String },
  { field: 'instructions', title: 'instructions', show: count },
  { field: 'millionPerSecond', title: 'million/s', show: (value) => value.toFixed(0) },
  { field: 'timesKernel', title: 'to kernel', show: (value) => value.toFixed(1) },
  { field: 'mostMiB', title: 'most', show: (value) => value.toFixed(0) },
];

function share(percent: number): string {
  return percent.toFixed(2);
}

function rowTable(rows: readonly Row[]): string {
  const present = extras.filter(({ field }) => rows.some((row) => typeof row[field] === 'number'));
  const hasRatio = rows.some(({ ratioToDirect }) => ratioToDirect !== null);
  const hasTime = rows.some(({ p50Us }) => p50Us !== null);
  const header = [
    ...['size', 'variant'],
    ...(hasRatio ? ['ratio', 'spread'] : []),
    ...(hasTime ? ['p50'] : []),
    ...present.map(({ title }) => title),
  ];
  const lines = rows.map((row) => [
    ...[count(row.size), row.variant],
    ...(hasRatio ? [fixed(row.ratioToDirect), fixed(row.spread)] : []),
    ...(hasTime ? [row.p50Us === null ? '' : duration(row.p50Us)] : []),
    ...present.map(({ field, show }) => (typeof row[field] === 'number' ? show(row[field]) : '')),
  ]);
  return table([header, ...lines], [1]);
}

function verdictTable(verdicts: readonly Verdict[]): string {
  const header = ['case', 'size', 'what', 'target', 'measured', 'verdict'];
  const lines = verdicts.map((each) => [
    ...[each.case, count(each.size), each.what, each.target, each.measured],
    each.met ? 'reached' : 'MISSED',
  ]);
  return table([header, ...lines], [0, 2, 5]);
}

/** Aligns columns; those whose index is in `left` to the left. */
function table(lines: readonly (readonly string[])[], left: readonly number[]): string {
  const widths = lines[0]!.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)));
  return lines
    .map((line) =>
      line
        .map((cell, i) => (left.includes(i) ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** `5,000` */
export function count(value: number): string {
  return value.toLocaleString('en');
}

function fixed(value: number | null): string {
  return value === null ? '' : value.toFixed(3);
}

function duration(microseconds: number): string {
  if (microseconds < 1_000) return `${microseconds.toFixed(1)} us`;
  if (microseconds < 1_000_000) return `${(microseconds / 1_000).toFixed(1)} ms`;
  return `${(microseconds / 1_000_000).toFixed(2)} s`;
}
