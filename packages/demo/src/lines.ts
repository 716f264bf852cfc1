import { type DemoState, recentAnswers, recentLatency, requestRates } from './state.ts';
import { clock, microseconds, percent, ratio, whole } from './view.ts';

/** Returns a line for each event of `state` that `before` doesn't have. */
export function eventLines(before: DemoState, state: DemoState): string[] {
  const known = new Set(before.events);
  return state.events
    .filter((event) => !known.has(event))
    .map(({ timeMs, from, message }) => `${clock(timeMs)}  ${from}: ${message}`);
}

/** Returns a line with the latest rates, failures, latencies and shares. */
export function windowLine(state: DemoState, nowMs: number): string {
  const { byBackend, all } = recentAnswers(state);
  const shares = state.backends.map(({ endpoint }) => {
    const share = all > 0 ? (byBackend.get(endpoint) ?? 0) / all : 0;
    return `${endpoint} ${percent(share).trim()}`;
  });
  const direct = recentLatency(state, 'direct', 'p50Us');
  const service = recentLatency(state, 'service', 'p50Us');
  const { failed, refused } = state.totals;
  return [
    `${clock(nowMs)}  ${whole(requestRates(state).at(-1) ?? 0)} requests/s`,
    `refused ${whole(refused)}, failed ${whole(failed)}`,
    `p50 service ${microseconds(service)}, direct ${microseconds(direct)} (${ratio(service, direct)})`,
    shares.join(', '),
  ]
    .filter(Boolean)
    .join('; ');
}
