import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientReport } from '@heddle/lab';
import type { AgentCallbacks } from './agent-process.ts';
import {
  type DemoEngine,
  type DemoPod,
  engineLabels,
  type Traffic,
  type TrafficOptions,
} from './engine.ts';
import { backendPort, type Endpoint, serviceName } from './manifests.ts';
import {
  type BackendState,
  type DemoState,
  fromAgent,
  initialState,
  targets,
  withAgent,
  withBackend,
  withEvent,
  withoutBackend,
  withReport,
  withServices,
} from './state.ts';

const firstBackends = 3;
/** The limit on backends: more don't fit the view and overload two CPUs. */
const maxBackends = 8;
/** The time before a killed agent is started again, in which traffic visibly continues. */
const deadMs = 2000;
/** The timeout for a change to be programmed. */
const programTimeoutMs = 20_000;

/**
 * The demo: nodes with a client, backends and agents. Each change updates `state` and calls
 * `onChange`. Closing it removes everything.
 */
export class Demo {
  readonly #engine: DemoEngine;
  readonly #backends: DemoPod[] = [];
  readonly #onChange: () => void;
  #traffic: Traffic | undefined;
  #state: DemoState;
  #reports = 0;

  /** `onCrash` is called when the agent ends by itself. Throws the errors of `openEngine`. */
  constructor(
    openEngine: (watch: AgentCallbacks) => DemoEngine,
    onChange: () => void,
    onCrash: (error: Error) => void,
  ) {
    this.#onChange = onChange;
    this.#engine = openEngine({
      onEvent: (event) => this.#change((state) => withEvent(state, fromAgent(event))),
      onState: (agent) => this.#change((state) => withAgent(state, agent)),
      onCrash,
    });
    this.#state = { ...initialState, engine: this.#engine.engine };
  }

  get state(): DemoState {
    return this.#state;
  }

  /** The address of the service that the agent has programmed. */
  get serviceAddress(): string {
    const entry = this.#state.services.find(({ family }) => family === 'IPv4');
    const [frontend] = entry?.frontends ?? [];
    if (!frontend) throw new Error(`find service ${serviceName}: the agent has no address of it`);
    return `${frontend.address}:${frontend.port}`;
  }

  /** Starts backends and agent; resolves when the service is programmed. */
  async open(): Promise<void> {
    const { place } = this.#engine;
    this.#addEvent(`${place} ready; starting the agent and ${firstBackends} backends`);
    await this.#engine.start();
    for (let i = 0; i < firstBackends; i++) this.#backends.push(await this.#engine.addPod());
    await Promise.all(this.#backends.map((pod) => this.#startBackend(pod)));
    this.#engine.writeEndpoints(this.#backends.map(endpointOf));
    await this.#waitUntilProgrammed();
    for (const pod of this.#backends) this.#setBackend(pod, 'serving');
  }

  /** Starts the web page. Rejects if it does not answer. */
  async openPage(): Promise<void> {
    const page = await this.#engine.startPage!(this.serviceAddress);
    this.#change((state) => ({ ...state, page }));
    this.#addEvent(`the web page is at ${page}`);
  }

  /** Sends requests from the client pod, alternately to the service and directly to its pods. */
  startTraffic(options: TrafficOptions): Traffic {
    this.#traffic = this.#engine.startTraffic(
      {
        [targets.direct]: this.#backends.map(endpointText),
        [targets.service]: [this.serviceAddress],
      },
      { ...options, onReport: (report) => this.#onReport(report) },
    );
    return this.#traffic;
  }

  /** Adds a backend, which gets connections only after it has started. */
  async addBackend(): Promise<void> {
    if (this.#backends.length >= maxBackends) {
      this.#addEvent(`${maxBackends} backends are the limit of the demo`);
      return;
    }
    const pod = await this.#engine.addPod();
    await this.#startBackend(pod);
    this.#backends.push(pod);
    this.#engine.writeEndpoints(this.#backends.map(endpointOf));
    await this.#waitUntilProgrammed();
    this.#setBackend(pod, 'serving');
    this.#traffic?.setTarget(targets.direct, this.#backends.map(endpointText));
    this.#addEvent(`backend ${endpointText(pod)} gets requests`);
  }

  /** Removes the newest backend from the manifests, and ends it when it gets no more requests. */
  async removeBackend(): Promise<void> {
    const pod = this.#backends.pop();
    if (!pod) {
      this.#addEvent('no backend is left to remove');
      return;
    }
    this.#setBackend(pod, 'leaving');
    this.#traffic?.setTarget(targets.direct, this.#backends.map(endpointText));
    this.#engine.writeEndpoints(this.#backends.map(endpointOf));
    await this.#waitUntilProgrammed();
    // Earlier requests have been answered by then.
    await this.#waitForReports(2);
    await this.#engine.removePod(pod);
    this.#change((state) => withoutBackend(state, endpointText(pod)));
    this.#addEvent(`backend ${endpointText(pod)} ended`);
  }

  /** Kills the agent and starts it again after a while. */
  async killAgent(): Promise<void> {
    const { agent } = this.#state;
    if (agent.phase !== 'running') return;
    const where = engineLabels[this.#engine.engine];
    const withPid = (pid: number | undefined) => (pid === undefined ? '' : ` with pid ${pid}`);
    await this.#engine.agent.kill();
    this.#addEvent(`agent${withPid(agent.pid)} killed; its programs and maps stay in ${where}`);
    await sleep(deadMs);
    const status = await this.#engine.agent.start();
    const { adopted, repaired } = status.datapath;
    const found = adopted ? `adopted the maps and links in ${where}` : `found nothing in ${where}`;
    const written = repaired > 0 ? `, repaired ${repaired} entries` : '';
    this.#addEvent(`agent restarted${withPid(this.#state.agent.pid)}: ${found}${written}`);
  }

  /** Updates the services from the agent; without an agent the last ones stay. */
  async refresh(): Promise<void> {
    const services = await this.#engine.agent.services();
    if (services) this.#change((state) => withServices(state, services));
  }

  /** Removes everything, and resolves when nothing is left. */
  async close(): Promise<void> {
    await this.#engine.close();
  }

  async #startBackend(pod: DemoPod): Promise<void> {
    this.#setBackend(pod, 'starting');
    await this.#engine.startBackend(pod, endpointText(pod));
  }

  /** Resolves when exactly the present backends are programmed, in both families. */
  async #waitUntilProgrammed(): Promise<void> {
    const addresses = this.#backends.flatMap((pod) => [pod.addresses.v4, pod.addresses.v6]);
    const wanted = addresses.sort().join();
    const deadline = Date.now() + programTimeoutMs;
    for (;;) {
      const rows = await this.#engine.agent.service(serviceName);
      const done = rows?.every(({ status }) => status === 'done');
      const current = rows?.flatMap(({ endpoints }) => endpoints.map(({ address }) => address));
      if (done && current?.sort().join() === wanted) break;
      if (Date.now() > deadline) {
        const reason = rows?.find(({ status }) => status !== 'done')?.reason;
        throw new Error(
          `program service ${serviceName}: not done within ${programTimeoutMs / 1000} s${reason ? ` (${reason})` : ''}`,
        );
      }
      await sleep(10);
    }
    await this.refresh();
  }

  async #waitForReports(count: number): Promise<void> {
    const wanted = this.#reports + count;
    while (this.#traffic && this.#reports < wanted) {
      if (this.#traffic.hasEnded) return;
      await sleep(20);
    }
  }

  #onReport(report: ClientReport): void {
    this.#reports++;
    this.#change((state) => withReport(state, report));
  }

  #setBackend(pod: DemoPod, phase: BackendState['phase']): void {
    const { name, node, path } = pod;
    const endpoint = endpointText(pod);
    const backend = { endpoint, pod: name, node: node.name, path, phase };
    this.#change((state) => withBackend(state, backend));
  }

  #addEvent(message: string): void {
    const event = { timeMs: Date.now(), from: 'demo', message, severe: false } as const;
    this.#change((state) => withEvent(state, event));
  }

  #change(update: (state: DemoState) => DemoState): void {
    this.#state = update(this.#state);
    this.#onChange();
  }
}

function endpointText(pod: DemoPod): string {
  return `${pod.addresses.v4}:${backendPort}`;
}

function endpointOf(pod: DemoPod): Endpoint {
  return { pod: pod.name, node: pod.node.name, addresses: pod.addresses };
}
