import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  type ClientReport,
  createLab,
  type HttpClient,
  type Lab,
  type LabNode,
  LabPod,
  startBackend,
  startHttpClient,
} from '@heddle/lab';
import type { Platform } from '@heddle/sys';
import { type AgentCallbacks, AgentProcess, exited } from './agent-process.ts';
import type { DemoEngine, DemoPod, Traffic, TrafficOptions } from './engine.ts';
import { backendPort, copyExample, type Endpoint, writeEndpoints } from './manifests.ts';

/** Runs the demo in the kernel: a lab of one node with real processes. */
export class KernelEngine implements DemoEngine {
  readonly engine = 'kernel';
  readonly agent: AgentProcess;
  readonly #lab: Lab;
  readonly #node: LabNode;
  readonly #client: LabPod;
  readonly #manifests: string;
  readonly #servers: Promise<ChildProcess>[] = [];
  #traffic: HttpClient | undefined;

  /** Creates the lab after removing what killed demos left. Throws the errors of createLab. */
  constructor(platform: Platform, watch: AgentCallbacks) {
    this.#lab = createLab(platform, { name: `demo-${process.pid}` });
    this.#node = this.#lab.nodes[0]!;
    this.#client = this.#lab.addPod(this.#node, 'client');
    // In the lab's folder, so that it is removed with the lab.
    const folder = `${dirname(this.#lab.bpffs)}/demo`;
    this.#manifests = `${folder}/manifests`;
    this.agent = new AgentProcess({
      node: this.#node,
      manifests: this.#manifests,
      socket: `${folder}/agent.sock`,
      ...watch,
    });
  }

  get address(): string {
    return this.#node.addresses.v4;
  }

  addPod(): DemoPod {
    return this.#lab.addPod(this.#node);
  }

  removePod(pod: DemoPod): void {
    if (pod instanceof LabPod) this.#lab.removePod(pod);
  }

  async startBackend(pod: DemoPod, name: string): Promise<void> {
    if (!(pod instanceof LabPod))
      throw new Error(`start backend ${name}: its pod is not in the lab`);
    const started = startBackend(pod, { http: [backendPort], name });
    this.#servers.push(started);
    await started;
  }

  writeManifests(endpoints: readonly Endpoint[]): void {
    if (existsSync(this.#manifests)) writeEndpoints(this.#manifests, endpoints);
    else copyExample(this.#manifests, endpoints);
  }

  startTraffic(
    targets: Readonly<Record<string, readonly string[]>>,
    options: TrafficOptions & { readonly onReport: (report: ClientReport) => void },
  ): Traffic {
    const client = startHttpClient(this.#client, { targets, ...options });
    this.#traffic = client;
    return {
      total: client.total,
      get hasEnded() {
        return client.process.exitCode !== null;
      },
      setTarget: (name, addresses) => client.setTarget(name, addresses),
    };
  }

  /** Resolves when no process is left, including zombies. */
  async close(): Promise<void> {
    this.#lab[Symbol.dispose]();
    await this.agent.exited();
    if (this.#traffic) await exited(this.#traffic.process);
    // A server whose start failed has ended already.
    for (const server of await Promise.allSettled(this.#servers)) {
      if (server.status === 'fulfilled') await exited(server.value);
    }
  }
}
