import type { ClientReport, TargetReport } from '@heddle/lab';
import { targets } from './state.ts';
import { type Engine, whereabouts } from './theatre.ts';
import { bar, microseconds, percent, ratio, whole } from './view.ts';

/** What `npm start -- --once --json` prints. */
export interface OnceResult {
  /** What translated the connections. */
  readonly engine: Engine;
  /** To the service, each on a new connection. */
  readonly requests: number;
  readonly failed: number;
  /** Requests to the service that each backend answered, by `ip:port`. */
  readonly backends: Readonly<Record<string, number>>;
  /** Connect, request and close; null when there was no request that didn't fail. */
  readonly latencyUs: { readonly direct: Quantiles; readonly service: Quantiles };
}

interface Quantiles {
  readonly p50: number | null;
  readonly p99: number | null;
}

export function onceResult({ targets: reports }: ClientReport, engine: Engine): OnceResult {
  const service = reports[targets.service]!;
  const backends = Object.entries(service.answers).sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    engine,
    requests: service.requests,
    failed: service.failed,
    backends: Object.fromEntries(backends),
    latencyUs: { direct: quantiles(reports[targets.direct]!), service: quantiles(service) },
  };
}

function quantiles({ p50Us, p99Us }: TargetReport): Quantiles {
  return { p50: p50Us, p99: p99Us };
}

/** What went wrong, one sentence for each path with failures. */
export function failures({ targets: reports }: ClientReport): string[] {
  return Object.entries(reports)
    .filter(([, { failed }]) => failed > 0)
    .map(([name, { failed, requests, failures: reasons }]) => {
      const why = Object.entries(reasons).map(([reason, count]) => `${count} ${reason}`);
      return `send ${name} requests: ${failed} of ${requests} failed (${why.join(', ')})`;
    });
}

/** What `npm start -- --once` prints. */
export function onceText(result: OnceResult, service: string, seconds: number): string {
  const { direct, service: through } = result.latencyUs;
  const row = (name: string, p50: string, p99: string) =>
    `  ${name.padEnd(24)}${p50.padStart(12)}${p99.padStart(12)}`;
  const shares = Object.entries(result.backends).map(([backend, count]) => {
    const share = count / Math.max(1, result.requests);
    return `  ${backend.padEnd(20)}${whole(count).padStart(8)} ${percent(share)}  ${bar(share, 40)}`;
  });
  // The times of the machine are those of its interpreter, and say nothing about a kernel's.
  const where = result.engine === 'vm' ? ` of ${whereabouts.vm}` : '';
  return [
    `${whole(result.requests)} requests to the service at ${service}, each on a new connection, ` +
      `in ${seconds.toFixed(1)} s${where}: ${whole(result.failed)} failed`,
    '',
    '  answered by',
    ...shares,
    '',
    row('connect, request, close', 'p50', 'p99'),
    row('direct to a pod', microseconds(direct.p50), microseconds(direct.p99)),
    row('through the service', microseconds(through.p50), microseconds(through.p99)),
    row('service / direct', ratio(through.p50, direct.p50), ratio(through.p99, direct.p99)),
    '',
  ].join('\n');
}
