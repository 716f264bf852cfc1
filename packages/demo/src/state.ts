import type { AgentEvent, ServiceEntry } from '@heddle/agent';
import type { ClientReport, TargetReport } from '@heddle/lab';
import type { Engine } from './theatre.ts';

/** Names of the client's targets, between which its requests alternate. */
export const targets = { service: 'service', direct: 'direct' } as const;

const keptWindows = 60;
const keptEvents = 100;
/** Windows that shares and latencies are taken over. */
const recentWindows = 20;

export interface AgentState {
  readonly life: 'starting' | 'running' | 'killed';
  readonly pid?: number;
  /** It found maps and links of an earlier agent in the kernel and went on with them. */
  readonly adopted: boolean;
}

export interface BackendState {
  /** `10.244.1.2:8080`; also what the backend calls itself. */
  readonly endpoint: string;
  readonly pod: string;
  readonly life: 'starting' | 'serving' | 'leaving';
}

export interface DemoEvent {
  readonly timeMs: number;
  readonly from: 'agent' | 'demo';
  readonly message: string;
  readonly severe: boolean;
}

/** All that the view shows. It only ever changes by the functions of this module. */
export interface DemoState {
  readonly engine: Engine;
  readonly agent: AgentState;
  readonly services: readonly ServiceEntry[];
  readonly backends: readonly BackendState[];
  /** What the client reported lately, oldest first. */
  readonly windows: readonly ClientReport[];
  /** Requests to the service since the start. */
  readonly totals: { readonly requests: number; readonly failed: number; readonly refused: number };
  /** Oldest first. */
  readonly events: readonly DemoEvent[];
}

export const initialState: DemoState = {
  engine: 'kernel',
  agent: { life: 'starting', adopted: false },
  services: [],
  backends: [],
  windows: [],
  totals: { requests: 0, failed: 0, refused: 0 },
  events: [],
};

/** Connections that were refused at once, as those to a service without endpoints are. */
export function refusedOf(report: TargetReport | undefined): number {
  return report?.failures.ECONNREFUSED ?? 0;
}

export function withReport(state: DemoState, report: ClientReport): DemoState {
  if (report.type !== 'window') return state;
  const service = report.targets[targets.service];
  const { requests, failed, refused } = state.totals;
  const nowRefused = refusedOf(service);
  return {
    ...state,
    windows: [...state.windows, report].slice(-keptWindows),
    totals: {
      requests: requests + (service?.requests ?? 0),
      failed: failed + (service?.failed ?? 0) - nowRefused,
      refused: refused + nowRefused,
    },
  };
}

export function withEvent(state: DemoState, event: DemoEvent): DemoState {
  // The agent's arrive over a socket, so that one may be older than the last one of the demo.
  const events = [...state.events, event].sort((a, b) => a.timeMs - b.timeMs);
  return { ...state, events: events.slice(-keptEvents) };
}

export function fromAgent(event: AgentEvent): DemoEvent {
  return {
    timeMs: Date.parse(event.time),
    from: 'agent',
    message: event.message,
    severe: event.kind === 'failed' || event.kind === 'problem',
  };
}

export function withAgent(state: DemoState, agent: AgentState): DemoState {
  return { ...state, agent };
}

export function withServices(state: DemoState, services: readonly ServiceEntry[]): DemoState {
  return { ...state, services };
}

/** Adds the backend, or replaces the one with the same endpoint. */
export function withBackend(state: DemoState, backend: BackendState): DemoState {
  const known = state.backends.some(({ endpoint }) => endpoint === backend.endpoint);
  const backends = known
    ? state.backends.map((each) => (each.endpoint === backend.endpoint ? backend : each))
    : [...state.backends, backend];
  return { ...state, backends };
}

export function withoutBackend(state: DemoState, endpoint: string): DemoState {
  return { ...state, backends: state.backends.filter((each) => each.endpoint !== endpoint) };
}

/** Requests to the service that each backend answered lately, and all of them together. */
export function recentAnswers(state: DemoState): { byBackend: Map<string, number>; all: number } {
  const byBackend = new Map<string, number>();
  let all = 0;
  for (const { targets: reports } of state.windows.slice(-recentWindows)) {
    for (const [backend, count] of Object.entries(reports[targets.service]?.answers ?? {})) {
      byBackend.set(backend, (byBackend.get(backend) ?? 0) + count);
      all += count;
    }
  }
  return { byBackend, all };
}

/** Requests per second to the service, window by window, oldest first. */
export function requestRates(state: DemoState): number[] {
  return state.windows.map(({ seconds, targets: reports }) => {
    const requests = reports[targets.service]?.requests ?? 0;
    return seconds > 0 ? requests / seconds : 0;
  });
}

/** Median over the latest windows, so that one noisy moment of the machine doesn't show for long. */
export function recentLatency(
  state: DemoState,
  target: keyof typeof targets,
  quantile: 'p50Us' | 'p99Us',
): number | undefined {
  const values = state.windows
    .slice(-recentWindows)
    .map((window) => window.targets[target]?.[quantile])
    .filter((value) => value !== null && value !== undefined)
    .sort((a, b) => a - b);
  return values[values.length >> 1];
}
