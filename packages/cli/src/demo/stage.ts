import type { ChildProcess } from 'node:child_process';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type ClientReport,
  createLab,
  type HttpClient,
  type Lab,
  type LabNode,
  type LabPod,
  startBackend,
  startHttpClient,
} from '@heddle/lab';
import type { Platform } from '@heddle/sys';
import { AgentProcess, gone } from './agent-process.ts';
import { backendPort, copyExample, serviceName, writeEndpoints } from './manifests.ts';
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
/** More don't fit the view, nor, for long, two CPUs. */
const mostBackends = 8;
/** How long a killed agent stays dead, for everyone to see that nobody misses it. */
const deadMs = 2000;

export interface TrafficOptions {
  /** To the service, and as many directly to its pods; without it until the end. */
  readonly requests?: number;
  /** Per second, each way. */
  readonly rate?: number;
  readonly reportMs?: number;
}

/**
 * What the demo plays on: a lab of one node with a client and backends, and an agent. Everything
 * that happens changes `state` and calls `onChange`. Closing it removes all of it.
 */
export class Stage {
  readonly #lab: Lab;
  readonly #node: LabNode;
  readonly #client: LabPod;
  readonly #manifests: string;
  readonly #agent: AgentProcess;
  readonly #backends: LabPod[] = [];
  readonly #onChange: () => void;
  readonly #servers: Promise<ChildProcess>[] = [];
  #traffic: HttpClient | undefined;
  #state: DemoState = initialState;
  #reports = 0;

  /**
   * Makes the lab, after removing what killed demos left. Throws what createLab throws. `onCrash`
   * is called when the agent ends by itself.
   */
  constructor(platform: Platform, onChange: () => void, onCrash: (error: Error) => void) {
    this.#onChange = onChange;
    this.#lab = createLab(platform, { name: `demo-${process.pid}` });
    this.#node = this.#lab.nodes[0]!;
    this.#client = this.#lab.addPod(this.#node, 'client');
    // Beside what the lab itself keeps there, and removed with it.
    const folder = `${dirname(this.#lab.bpffs)}/demo`;
    this.#manifests = `${folder}/manifests`;
    this.#agent = new AgentProcess({
      node: this.#node,
      manifests: this.#manifests,
      socket: `${folder}/agent.sock`,
      onEvent: (event) => this.#change((state) => withEvent(state, fromAgent(event))),
      onState: (agent) => this.#change((state) => withAgent(state, agent)),
      onCrash,
    });
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
    const { v4 } = this.#node.addresses;
    this.#say(`lab of one node (${v4}) made; starting ${firstBackends} backends and the agent`);
    const pods = Array.from({ length: firstBackends }, () => this.#lab.addPod(this.#node));
    await Promise.all(pods.map((pod) => this.#startBackend(pod)));
    this.#backends.push(...pods);
    copyExample(this.#manifests, this.#backends.map(endpointOf));
    await this.#agent.start();
    await this.#untilInForce();
    for (const pod of this.#backends) this.#show(pod, 'serving');
  }

  /** Sends requests from the client pod, to the service and directly to its pods in turn. */
  startTraffic(options: TrafficOptions): HttpClient {
    this.#traffic = startHttpClient(this.#client, {
      targets: {
        [targets.direct]: this.#backends.map(endpointText),
        [targets.service]: [this.serviceAddress],
      },
      ...options,
      onReport: (report) => this.#onReport(report),
    });
    return this.#traffic;
  }

  /** A new pod, started before anything is sent to it. */
  async addBackend(): Promise<void> {
    if (this.#backends.length >= mostBackends) {
      this.#say(`${mostBackends} backends are enough for this machine`);
      return;
    }
    const pod = this.#lab.addPod(this.#node);
    await this.#startBackend(pod);
    this.#backends.push(pod);
    writeEndpoints(this.#manifests, this.#backends.map(endpointOf));
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
    writeEndpoints(this.#manifests, this.#backends.map(endpointOf));
    await this.#untilInForce();
    // What was sent to it before has its answer by then.
    await this.#reportsFromNow(2);
    this.#lab.removePod(pod);
    this.#change((state) => withoutBackend(state, endpointText(pod)));
    this.#say(`backend ${endpointText(pod)} ended`);
  }

  /** Kills the agent, leaves it dead for a while, and starts it again. */
  async killAgent(): Promise<void> {
    const { agent } = this.#state;
    if (agent.life !== 'running') return;
    await this.#agent.kill();
    this.#say(`agent with pid ${agent.pid} killed; its programs and maps stay in the kernel`);
    await sleep(deadMs);
    const status = await this.#agent.start();
    const { adopted, repaired } = status.datapath;
    const found = adopted ? 'adopted what is in the kernel' : 'found nothing in the kernel';
    const written = repaired > 0 ? `, wrote ${repaired} entries anew` : '';
    this.#say(`agent is back with pid ${status.pid}: ${found}${written}`);
  }

  /** Asks the agent how the services are; while there is none, what it said last stays. */
  async refresh(): Promise<void> {
    const services = await this.#agent.services();
    if (services) this.#change((state) => withServices(state, services));
  }

  /** Removes everything, and returns once no process is left, not even one that is only defunct. */
  async close(): Promise<void> {
    this.#lab[Symbol.dispose]();
    await this.#agent.gone();
    if (this.#traffic) await gone(this.#traffic.process);
    // One that was still starting is gone when its start has failed.
    for (const server of await Promise.allSettled(this.#servers)) {
      if (server.status === 'fulfilled') await gone(server.value);
    }
  }

  async #startBackend(pod: LabPod): Promise<void> {
    this.#show(pod, 'starting');
    const started = startBackend(pod, { http: [backendPort], name: endpointText(pod) });
    this.#servers.push(started);
    await started;
  }

  async #untilInForce(): Promise<void> {
    const addresses = this.#backends.flatMap((pod) => [pod.addresses.v4, pod.addresses.v6]);
    await this.#agent.inForce(serviceName, addresses);
    await this.refresh();
  }

  async #reportsFromNow(count: number): Promise<void> {
    const wanted = this.#reports + count;
    while (this.#traffic && this.#reports < wanted) {
      if (this.#traffic.process.exitCode !== null) return;
      await sleep(20);
    }
  }

  #onReport(report: ClientReport): void {
    this.#reports++;
    this.#change((state) => withReport(state, report));
  }

  #show(pod: LabPod, life: BackendState['life']): void {
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

function endpointText(pod: LabPod): string {
  return `${pod.addresses.v4}:${backendPort}`;
}

function endpointOf(pod: LabPod) {
  return { pod: pod.name, node: pod.node.name, addresses: pod.addresses };
}
