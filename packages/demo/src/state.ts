import type { AgentEvent, ServiceEntry } from '@heddle/agent';
import type { ClientReport, TargetReport } from '@heddle/lab';
import type { EngineName } from './engine.ts';

/** The names of the client's targets, between which its requests alternate. */
export const targets = { service: 'service', direct: 'direct' } as const;

const keptWindows = 60;
const keptEvents = 100;
/** The number of windows that shares and latencies are computed from. */
const recentWindows = 20;

export interface AgentState {
  readonly phase: 'starting' | 'running' | 'killed';
  readonly pid?: number;
  /** True if it adopted the maps and links of an earlier agent. */
  readonly adopted: boolean;
}

export interface BackendState {
  /** `10.244.1.2:8080`; also the name that the backend replies with. */
  readonly endpoint: string;
  readonly pod: string;
  readonly node: string;
  /** The path from the client, as in DemoPod. */
  readonly path: string;
  readonly phase: 'starting' | 'serving' | 'leaving';
}

export interface DemoEvent {
  readonly timeMs: number;
  readonly from: 'agent' | 'demo';
  readonly message: string;
  readonly severe: boolean;
}

/** The state that the view shows. Only the functions of this module return new ones. */
export interface DemoState {
  readonly engine: EngineName;
  readonly agent: AgentState;
  /** The address of the web page. */
  readonly page?: string;
  readonly services: readonly ServiceEntry[];
  readonly backends: readonly BackendState[];
  /** The client's latest reports, oldest first. */
  readonly windows: readonly ClientReport[];
  /** Requests to the service since the start. */
  readonly totals: { readonly requests: number; readonly failed: number; readonly refused: number };
  /** Oldest first. */
  readonly events: readonly DemoEvent[];
}

export const initialState: DemoState = {
  engine: 'kernel',
  agent: { phase: 'starting', adopted: false },
  services: [],
  backends: [],
  windows: [],
  totals: { requests: 0, failed: 0, refused: 0 },
  events: [],
};

/**
 * Returns the number of connections that were refused, as those to a service without endpoints are.
 */
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
  // Events of the agent arrive over a socket and may be older than the last one of the demo.
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

/**
 * Returns the number of recent requests to the service, by the backend that answered, and their
 * sum.
 */
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

/** Returns the requests per second to the service in each window, oldest first. */
export function requestRates(state: DemoState): number[] {
  return state.windows.map(({ seconds, targets: reports }) => {
    const requests = reports[targets.service]?.requests ?? 0;
    return seconds > 0 ? requests / seconds : 0;
  });
}

/** Returns the median over the latest windows, which suppresses outliers. */
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
