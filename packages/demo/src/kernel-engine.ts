import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cniPlugin } from '@heddle/assets';
import {
  type ClientReport,
  CniPlugin,
  createLab,
  type HttpClient,
  type Lab,
  type LabPod,
  startBackend,
  startHttpClient,
} from '@heddle/lab';
import type { Platform } from '@heddle/sys';
import { type AgentCallbacks, AgentProcess, exited } from './agent-process.ts';
import type { DemoEngine, DemoPod, Traffic, TrafficOptions } from './engine.ts';
import {
  backendPort,
  copyExample,
  type Endpoint,
  type NamedPod,
  writeEndpoints,
  writePods,
} from './manifests.ts';
import { DemoPage } from './page.ts';

/** A node beyond a router, which pods of the others reach through a tunnel. */
const farNode = 3;

const caller = fileURLToPath(new URL('./caller.ts', import.meta.url));

/** A pod of the lab, as the demo shows it. */
interface KernelPod extends DemoPod {
  readonly pod: LabPod;
}

/**
 * Runs the demo in the kernel: a lab of three nodes with an agent on each, whose CNI plug-in connects
 * the pods, and real processes. The third node is in another subnet.
 */
export class KernelEngine implements DemoEngine {
  readonly engine = 'kernel';
  readonly agent: AgentProcess;
  readonly #agents: readonly AgentProcess[];
  readonly #lab: Lab;
  readonly #plugin: CniPlugin;
  readonly #manifests: string;
  readonly #servers: Promise<ChildProcess>[] = [];
  #client: LabPod | undefined;
  #paths: ReadonlyMap<string, string> = new Map();
  #pods = 0;
  #traffic: HttpClient | undefined;
  /** The pods with their workloads; only with the web page. */
  readonly #named: NamedPod[] = [];
  readonly #page: DemoPage | undefined;

  /**
   * Creates the lab after removing what killed demos left; `hasPage` is true if `startPage` will be called. Throws the
   * errors of createLab.
   */
  constructor(platform: Platform, watch: AgentCallbacks, hasPage = false) {
    const lab = createLab(platform, {
      ...{ name: `demo-${process.pid}`, nodes: farNode, farFrom: farNode, podRoutes: false },
    });
    this.#lab = lab;
    // In the lab's folder, so that it is removed with the lab.
    const folder = `${dirname(lab.bpffs)}/demo`;
    this.#manifests = `${folder}/manifests`;
    const quiet = { onEvent() {}, onState() {}, onCrash: watch.onCrash };
    this.#agents = lab.nodes.map((node, i) => {
      const own = `${folder}/${node.name}`;
      mkdirSync(own, { recursive: true });
      const callbacks = i === 0 ? watch : quiet;
      return new AgentProcess({
        ...{ node, manifests: this.#manifests, folder: own, visibility: hasPage },
        ...callbacks,
      });
    });
    if (hasPage) {
      const nodes = lab.nodes.map((node, i) => {
        return { node, socket: this.#agents[i]!.socket, folder: `${folder}/${node.name}` };
      });
      this.#page = new DemoPage(nodes, folder);
    }
    this.agent = this.#agents[0]!;
    copyExample(this.#manifests, lab.nodes);
    const path = `${folder}/heddle-cni`;
    writeFileSync(path, cniPlugin(platform.arch), { mode: 0o755 });
    this.#plugin = new CniPlugin({
      path,
      socketOf: ({ node }) => this.#agents[node.number - 1]!.cniSocket,
    });
  }

  get place(): string {
    return `lab of ${this.#lab.nodes.length} nodes is`;
  }

  async start(): Promise<void> {
    await Promise.all(this.#agents.map((agent) => agent.start()));
    this.#paths = await this.agent.paths();
    this.#client = await this.#lab.addPodBy(this.#plugin, this.#lab.nodes[0]!, 'client');
    this.#name(this.#client, 'client');
  }

  /** Starts the web page, and a pod whose connections a policy denies. Resolves to the page's address. */
  async startPage(serviceAddress: string): Promise<string> {
    const pod = await this.#lab.addPodBy(this.#plugin, this.#lab.nodes[0]!, 'report');
    this.#name(pod, 'report');
    const [host, port] = serviceAddress.split(':') as [string, string];
    this.#servers.push(
      Promise.resolve(pod.spawn(process.execPath, [caller, host, port], { stdio: 'ignore' })),
    );
    return await this.#page!.start();
  }

  async addPod(): Promise<KernelPod> {
    const index = this.#pods++ % this.#lab.nodes.length;
    const pod = await this.#lab.addPodBy(this.#plugin, this.#lab.nodes[index]!);
    const { name, node, addresses } = pod;
    this.#name(pod, 'hello');
    return { pod, name, node, addresses, path: this.#paths.get(node.name) ?? 'same node' };
  }

  async removePod(pod: DemoPod): Promise<void> {
    const index = this.#named.findIndex((each) => each.pod === pod.name);
    if (index >= 0) this.#named.splice(index, 1);
    await this.#lab.removePodBy(this.#plugin, (pod as KernelPod).pod);
  }

  /** Gives a pod a Pod object, where there is a page to show it. */
  #name({ name, node, addresses }: LabPod, app: string): void {
    if (!this.#page) return;
    this.#named.push({ pod: name, node: node.name, addresses, app });
    writePods(this.#manifests, this.#named);
  }

  async startBackend(demoPod: DemoPod, name: string): Promise<void> {
    const { pod } = demoPod as KernelPod;
    const started = startBackend(pod, { http: [backendPort], name });
    this.#servers.push(started);
    await started;
  }

  writeEndpoints(endpoints: readonly Endpoint[]): void {
    writeEndpoints(this.#manifests, endpoints);
  }

  startTraffic(
    targets: Readonly<Record<string, readonly string[]>>,
    options: TrafficOptions & { readonly onReport: (report: ClientReport) => void },
  ): Traffic {
    const client = startHttpClient(this.#client!, { targets, ...options });
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
    await this.#page?.close();
    this.#lab[Symbol.dispose]();
    // None of them counts as crashed from now on.
    await Promise.all(this.#agents.map((agent) => agent.exited()));
    if (this.#traffic) await exited(this.#traffic.process);
    // A server whose start failed has ended already.
    for (const server of await Promise.allSettled(this.#servers)) {
      if (server.status === 'fulfilled') await exited(server.value);
    }
  }
}
