import { type HttpResponse, textResponse } from '@heddle/rpc';
import type { Clock, SyncClock } from './sync-clock.ts';

/** kube-proxy's bound in its default configuration: twice its sync period. */
export const longestWaitMs = 60_000;

export interface HealthOptions {
  readonly clock: Clock;
  readonly sync: Pick<SyncClock, 'waitedMs' | 'lastDoneMs'>;
  /** Whether the node may take new traffic: it is not about to go. */
  readonly isEligible: () => boolean;
  /** Why the agent is not ready yet, in words; undefined once it is. */
  readonly notReady: () => string | undefined;
  /** Returns what is broken in the kernel, in words, and for how long; see IntegrityWatch. */
  readonly broken: () => { readonly problem: string | undefined; readonly brokenMs: number };
  /** Called with the status code of each answer. */
  readonly onAnswer: (path: '/healthz' | '/livez', status: number) => void;
}

/**
 * The documents of the health server, with kube-proxy's meaning. `/livez`: changes come into force,
 * none has waited too long, and nothing that others have broken in the kernel has resisted repair for as
 * long. `/healthz`, for load balancers: that, nothing is broken, and the node stays (KEP-3836). `/readyz`:
 * the first complete list is programmed, and nothing is broken. An API server that can't be reached makes
 * none of them fail: services go on.
 */
export function healthHandler(options: HealthOptions): (path: string) => HttpResponse | undefined {
  const { clock, sync, isEligible, notReady, broken, onAnswer } = options;
  const answer = (path: '/healthz' | '/livez', more: Record<string, unknown>, isGood: boolean) => {
    const now = clock.wallTimeMs();
    // kube-proxy says "now" while it is healthy, for clients that compare the two.
    const updated = sync.waitedMs > longestWaitMs ? (sync.lastDoneMs ?? 0) : now;
    const status = isGood ? 200 : 503;
    onAnswer(path, status);
    const times = { lastUpdated: timeText(updated), currentTime: timeText(now) };
    const body = `${JSON.stringify({ ...times, ...more })}\n`;
    return { status, type: 'application/json', body };
  };
  return (path) => {
    const { problem, brokenMs } = broken();
    const isAlive = sync.waitedMs <= longestWaitMs && brokenMs <= longestWaitMs;
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
