import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientReport } from '@heddle/lab';
import type { AgentWatch } from './agent-process.ts';
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
import {
  type DemoPod,
  type Theatre,
  type Traffic,
  type TrafficOptions,
  whereabouts,
} from './theatre.ts';

const firstBackends = 3;
/** More don't fit the view, nor, for long, two CPUs. */
const mostBackends = 8;
/** How long a killed agent stays dead, for everyone to see that nobody misses it. */
const deadMs = 2000;
/** How long a change may take to be in force. */
const inForceMs = 20_000;

/**
 * The play: a node with a client and backends, and an agent. Everything that happens changes `state`
 * and calls `onChange`. Closing it removes all of it.
 */
export class Stage {
  readonly #theatre: Theatre;
  readonly #backends: DemoPod[] = [];
  readonly #onChange: () => void;
  #traffic: Traffic | undefined;
  #state: DemoState;
  #reports = 0;

  /** `onCrash` is called when the agent ends by itself. Throws what making the theatre throws. */
  constructor(
    openTheatre: (watch: AgentWatch) => Theatre,
    onChange: () => void,
    onCrash: (error: Error) => void,
  ) {
    this.#onChange = onChange;
    this.#theatre = openTheatre({
      onEvent: (event) => this.#change((state) => withEvent(state, fromAgent(event))),
      onState: (agent) => this.#change((state) => withAgent(state, agent)),
      onCrash,
    });
    this.#state = { ...initialState, engine: this.#theatre.engine };
  }

  get state(): DemoState {
    return this.#state;
  }

  /** Address of the service, as the agent has it in force. */
  get serviceAddress(): string {
    const entry = this.#state.services.find(({ family }) => family === 'IPv4');
    const [frontend] = entry?.frontends ?? [];
    if (!frontend) throw new Error(`find service ${serviceName}: the agent has no address of it`);
    return `${frontend.address}:${frontend.port}`;
  }

  /** Starts backends and agent; returns once the service is in force. */
  async open(): Promise<void> {
    const { address, engine } = this.#theatre;
    const what = engine === 'kernel' ? 'lab of one node' : 'simulated node';
    this.#say(`${what} (${address}) made; starting ${firstBackends} backends and the agent`);
    const pods = Array.from({ length: firstBackends }, () => this.#theatre.addPod());
    await Promise.all(pods.map((pod) => this.#startBackend(pod)));
    this.#backends.push(...pods);
    this.#theatre.writeManifests(this.#backends.map(endpointOf));
    await this.#theatre.agent.start();
    await this.#untilInForce();
    for (const pod of this.#backends) this.#show(pod, 'serving');
  }

  /** Sends requests from the client pod, to the service and directly to its pods in turn. */
  startTraffic(options: TrafficOptions): Traffic {
    this.#traffic = this.#theatre.startTraffic(
      {
        [targets.direct]: this.#backends.map(endpointText),
        [targets.service]: [this.serviceAddress],
      },
      { ...options, onReport: (report) => this.#onReport(report) },
    );
    return this.#traffic;
  }

  /** A new pod, started before anything is sent to it. */
  async addBackend(): Promise<void> {
    if (this.#backends.length >= mostBackends) {
      this.#say(`${mostBackends} backends are enough for this machine`);
      return;
    }
    const pod = this.#theatre.addPod();
    await this.#startBackend(pod);
    this.#backends.push(pod);
    this.#theatre.writeManifests(this.#backends.map(endpointOf));
    await this.#untilInForce();
    this.#show(pod, 'serving');
    this.#traffic?.setTarget(targets.direct, this.#backends.map(endpointText));
    this.#say(`backend ${endpointText(pod)} takes requests`);
  }

  /** Takes the newest backend out of the manifests, and ends it only when nothing comes to it. */
  async removeBackend(): Promise<void> {
    const pod = this.#backends.pop();
    if (!pod) {
      this.#say('no backend is left to remove');
      return;
    }
    this.#show(pod, 'leaving');
    this.#traffic?.setTarget(targets.direct, this.#backends.map(endpointText));
    this.#theatre.writeManifests(this.#backends.map(endpointOf));
    await this.#untilInForce();
    // What was sent to it before has its answer by then.
    await this.#reportsFromNow(2);
    this.#theatre.removePod(pod);
    this.#change((state) => withoutBackend(state, endpointText(pod)));
    this.#say(`backend ${endpointText(pod)} ended`);
  }

  /** Kills the agent, leaves it dead for a while, and starts it again. */
  async killAgent(): Promise<void> {
    const { agent } = this.#state;
    if (agent.life !== 'running') return;
    const where = whereabouts[this.#theatre.engine];
    const withPid = (pid: number | undefined) => (pid === undefined ? '' : ` with pid ${pid}`);
    await this.#theatre.agent.kill();
    this.#say(`agent${withPid(agent.pid)} killed; its programs and maps stay in ${where}`);
    await sleep(deadMs);
    const status = await this.#theatre.agent.start();
    const { adopted, repaired } = status.datapath;
    const found = adopted ? `adopted what is in ${where}` : `found nothing in ${where}`;
    const written = repaired > 0 ? `, wrote ${repaired} entries anew` : '';
    this.#say(`agent is back${withPid(this.#state.agent.pid)}: ${found}${written}`);
  }

  /** Asks the agent how the services are; while there is none, what it said last stays. */
  async refresh(): Promise<void> {
    const services = await this.#theatre.agent.services();
    if (services) this.#change((state) => withServices(state, services));
  }

  /** Removes everything, and returns once nothing is left. */
  async close(): Promise<void> {
    await this.#theatre.close();
  }

  async #startBackend(pod: DemoPod): Promise<void> {
    this.#show(pod, 'starting');
    await this.#theatre.startBackend(pod, endpointText(pod));
  }

  /** Returns once exactly the backends there are, for the families together, are in force. */
  async #untilInForce(): Promise<void> {
    const addresses = this.#backends.flatMap((pod) => [pod.addresses.v4, pod.addresses.v6]);
    const wanted = addresses.sort().join();
    const deadline = Date.now() + inForceMs;
    for (;;) {
      const rows = await this.#theatre.agent.service(serviceName);
      const done = rows?.every(({ status }) => status === 'done');
      const current = rows?.flatMap(({ endpoints }) => endpoints.map(({ address }) => address));
      if (done && current?.sort().join() === wanted) break;
      if (Date.now() > deadline) {
        const reason = rows?.find(({ status }) => status !== 'done')?.reason;
        throw new Error(
          `put service ${serviceName} in force: not done within ${inForceMs / 1000} s${reason ? ` (${reason})` : ''}`,
        );
      }
      await sleep(10);
    }
    await this.refresh();
  }

  async #reportsFromNow(count: number): Promise<void> {
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

  #show(pod: DemoPod, life: BackendState['life']): void {
    const backend = { endpoint: endpointText(pod), pod: pod.name, life };
    this.#change((state) => withBackend(state, backend));
  }

  #say(message: string): void {
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
