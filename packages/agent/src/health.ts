import { type HttpResponse, textResponse } from '@heddle/rpc';
import type { Progress } from './feature.ts';
import type { Clock } from './sync-clock.ts';

/** kube-proxy's bound in its default configuration: twice its sync period. */
export const longestWaitMs = 60_000;

export interface HealthOptions {
  readonly clock: Clock;
  readonly progress: () => Pick<Progress, 'waitedMs' | 'lastDoneMs'>;
  /** Returns true while the node may take new traffic. */
  readonly isEligible: () => boolean;
  /** Returns the reason why the agent is not ready yet, or undefined once it is. */
  readonly notReady: () => string | undefined;
  /** Returns what is broken in the kernel, and for how long; see IntegrityWatch. */
  readonly broken: () => { readonly problem: string | undefined; readonly brokenMs: number };
  /** Called with the status code of each answer. */
  readonly onAnswer: (path: '/healthz' | '/livez', status: number) => void;
}

/**
 * Returns the handler of the health server; its documents have kube-proxy's meaning. `/livez` is good while
 * changes are programmed, none has waited too long, and no damage by other programs in the kernel has resisted
 * repair for as long. `/healthz`, for load balancers, is good while `/livez` is, nothing is broken, and the node
 * stays (KEP-3836). `/readyz` is good once the first complete list is programmed, while nothing is broken. An
 * API server that cannot be reached makes none of them fail, because services go on.
 */
export function healthHandler(options: HealthOptions): (path: string) => HttpResponse | undefined {
  const { clock, progress, isEligible, notReady, broken, onAnswer } = options;
  const answer = (path: '/healthz' | '/livez', more: Record<string, unknown>, isGood: boolean) => {
    const now = clock.wallTimeMs();
    // kube-proxy answers the present time while it is healthy, for clients that compare the two.
    const { waitedMs, lastDoneMs } = progress();
    const updated = waitedMs > longestWaitMs ? (lastDoneMs ?? 0) : now;
    const status = isGood ? 200 : 503;
    onAnswer(path, status);
    const times = { lastUpdated: timeText(updated), currentTime: timeText(now) };
    const body = `${JSON.stringify({ ...times, ...more })}\n`;
    return { status, type: 'application/json', body };
  };
  return (path) => {
    const { problem, brokenMs } = broken();
    const isAlive = progress().waitedMs <= longestWaitMs && brokenMs <= longestWaitMs;
    if (path === '/livez') return answer(path, {}, isAlive);
    if (path === '/healthz') {
      const nodeEligible = isEligible();
      const more = problem === undefined ? { nodeEligible } : { nodeEligible, problem };
      return answer(path, more, isAlive && nodeEligible && problem === undefined);
    }
    if (path !== '/readyz') return undefined;
    const reason = notReady() ?? problem;
    return reason === undefined ? textResponse(200, 'ok') : textResponse(503, reason);
  };
}

function timeText(ms: number): string {
  return new Date(ms).toISOString();
}
