import type { ClientReport, TargetReport } from '@heddle/lab';
import { type EngineName, engineLabels } from './engine.ts';
import { type DemoState, targets } from './state.ts';
import { bar, microseconds, percent, ratio, whole } from './view.ts';

/** The JSON output of `npm start -- --once --json`. */
export interface OnceResult {
  /** The engine that translated the connections. */
  readonly engine: EngineName;
  /** The number of requests to the service, each on a new connection. */
  readonly requests: number;
  readonly failed: number;
  /** The number of requests to the service that each backend answered, by `ip:port`. */
  readonly backends: Readonly<Record<string, number>>;
  /** The time of connect, request and close; null if all requests failed. */
  readonly latencyUs: { readonly direct: Quantiles; readonly service: Quantiles };
  /** The pods that serve it, and the path from the client to each. */
  readonly pods: readonly PodResult[];
}

interface PodResult {
  readonly name: string;
  readonly node: string;
  readonly endpoint: string;
  readonly path: string;
}

interface Quantiles {
  readonly p50: number | null;
  readonly p99: number | null;
}

export function onceResult(
  { targets: reports }: ClientReport,
  { engine, backends: pods }: Pick<DemoState, 'engine' | 'backends'>,
): OnceResult {
  const service = reports[targets.service]!;
  const backends = Object.entries(service.answers).sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    engine,
    requests: service.requests,
    failed: service.failed,
    backends: Object.fromEntries(backends),
    latencyUs: { direct: quantiles(reports[targets.direct]!), service: quantiles(service) },
    pods: pods.map(({ pod: name, node, endpoint, path }) => ({ name, node, endpoint, path })),
  };
}

function quantiles({ p50Us, p99Us }: TargetReport): Quantiles {
  return { p50: p50Us, p99: p99Us };
}

/** Returns a sentence for each target with failures. */
export function failures({ targets: reports }: ClientReport): string[] {
  return Object.entries(reports)
    .filter(([, { failed }]) => failed > 0)
    .map(([name, { failed, requests, failures: reasons }]) => {
      const counts = Object.entries(reasons).map(([reason, count]) => `${count} ${reason}`);
      return `send ${name} requests: ${failed} of ${requests} failed (${counts.join(', ')})`;
    });
}

/** Returns the text output of `npm start -- --once`. */
export function onceText(result: OnceResult, service: string, seconds: number): string {
  const { direct, service: through } = result.latencyUs;
  const row = (name: string, p50: string, p99: string) =>
    `  ${name.padEnd(24)}${p50.padStart(12)}${p99.padStart(12)}`;
  const shares = Object.entries(result.backends).map(([backend, count]) => {
    const share = count / Math.max(1, result.requests);
    const pod = result.pods.find(({ endpoint }) => endpoint === backend);
    const where = pod ? `${pod.node} ${pod.path}` : '';
    return `  ${backend.padEnd(20)}${where.padEnd(16)}${whole(count).padStart(8)} ${percent(share)}  ${bar(share, 30)}`;
  });
  // Times of the userspace machine are those of its interpreter, not comparable with a kernel's.
  const where = result.engine === 'vm' ? ` of ${engineLabels.vm}` : '';
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
