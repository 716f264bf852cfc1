import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AgentStatus, NodeEntry } from '@heddle/agent';
import { ControlClient } from '@heddle/control';
import {
  CniPlugin,
  createLab,
  type Lab,
  type LabNode,
  type LabOptions,
  type LabPod,
  type PodName,
  type PodPlugin,
} from '@heddle/lab';
import type { Platform } from '@heddle/sys';
import { nodePlatform } from '@heddle/sys/node';
import { eventually } from '@heddle/sys/testing/eventually';

const program = fileURLToPath(import.meta.resolve('@heddle/cli/main'));

interface NodeSettings {
  readonly addresses?: readonly string[];
  readonly podCIDRs?: readonly string[];
}

/** An object of the manifests, as far as its name goes. */
export interface ManifestObject {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

const keyOf = ({ kind, metadata: { namespace = '', name } }: ManifestObject) =>
  `${kind} ${namespace}/${name}`;

export interface NetworkLabOptions extends Omit<LabOptions, 'name'> {
  readonly hasPods?: boolean;
  /** Settings of the agents. */
  readonly settings?: object;
}

/** Returns a Node object of a lab's node, with its ranges of pod addresses. */
export function nodeObject(node: LabNode, settings: NodeSettings = {}) {
  const { number, addresses } = node;
  const {
    addresses: nodeIPs = [addresses.v4, addresses.v6],
    podCIDRs = [`10.244.${number}.0/24`, `fd00:10:244:${number}::/64`],
  } = settings;
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: node.name, labels: { 'kubernetes.io/os': 'linux' } },
    spec: { podCIDR: podCIDRs[0], podCIDRs },
    status: { addresses: nodeIPs.map((address) => ({ type: 'InternalIP', address })) },
  };
}

/** A kubeconfig of a cluster whose API server nobody serves. */
const unreachableCluster = {
  apiVersion: 'v1',
  kind: 'Config',
  clusters: [{ name: 'lab', cluster: { server: 'http://127.0.0.1:9' } }],
  users: [{ name: 'lab', user: {} }],
  contexts: [{ name: 'lab', context: { cluster: 'lab', user: 'lab' } }],
  'current-context': 'lab',
};

/**
 * A lab whose nodes all run an agent with the pod network. Each node has one pod. All agents read one folder of
 * manifests.
 */
export class NodeNetworkLab implements Disposable {
  readonly platform: Platform = nodePlatform(() => {});
  readonly lab: Lab;
  readonly #folder: string;
  readonly #settings: object;
  readonly #objects = new Map<string, ManifestObject>();
  readonly #agents = new Map<LabNode, { process: ChildProcess; client: ControlClient }>();
  log = '';

  /** `hasPods`: the lab connects a pod to each node (default), instead of the CNI plug-in. */
  constructor(name: string, { hasPods = true, settings = {}, ...options }: NetworkLabOptions = {}) {
    this.#settings = settings;
    this.lab = createLab(this.platform, {
      ...{ name: `${name}-${process.pid}`, nodes: 2, podRoutes: false, ...options },
    });
    this.#folder = `${dirname(this.lab.bpffs)}/network`;
    mkdirSync(`${this.#folder}/manifests`, { recursive: true });
    if (hasPods) for (const node of this.lab.nodes) this.#addPod(node);
    for (const node of this.lab.nodes) this.#put(nodeObject(node));
    this.#write();
  }

  /** Returns the pod of a node, which is numbered from 1. */
  pod(node: number): LabPod {
    return this.lab.nodes[node - 1]!.pods[0]!;
  }

  node(number: number): LabNode {
    return this.lab.nodes[number - 1]!;
  }

  /** Changes or removes the Node object of a node. */
  setNode(node: LabNode, settings: NodeSettings | undefined): void {
    const object = nodeObject(node, settings);
    if (settings) this.#put(object);
    else this.#objects.delete(keyOf(object));
    this.#write();
  }

  /**
   * Adds a pod by the CNI plug-in that the node's agent has installed, with the name of a Pod object if given. `before`
   * gets the pod while it has loopback only.
   */
  async addPod(
    node: LabNode,
    name?: PodName,
    before: (pod: LabPod) => void = () => {},
  ): Promise<LabPod> {
    const plugin = this.#plugin(node, name);
    await this.until('the plug-in to be installed', async () => existsSync(plugin.path));
    const watched: PodPlugin = {
      add: (pod) => {
        before(pod);
        return plugin.add(pod);
      },
      remove: (pod) => plugin.remove(pod),
    };
    return this.lab.addPodBy(watched, node, name && `${name.namespace}-${name.name}`);
  }

  /** Removes a pod that `addPod` has added. */
  async removePod(pod: LabPod): Promise<void> {
    await this.lab.removePodBy(this.#plugin(pod.node), pod);
  }

  /** Adds other objects to the manifests, or replaces them. */
  add(...objects: readonly ManifestObject[]): void {
    this.change({ put: objects });
  }

  /** Changes the manifests in one step. */
  change({
    put = [],
    remove = [],
  }: {
    readonly put?: readonly ManifestObject[];
    readonly remove?: readonly ManifestObject[];
  }): void {
    for (const each of remove) this.#objects.delete(keyOf(each));
    for (const each of put) this.#put(each);
    this.#write();
  }

  /** Starts the agents of all nodes, and resolves when all rows are programmed. */
  async start(...args: readonly string[]): Promise<void> {
    // One after the other: loading the programs takes all of a processor.
    for (const node of this.lab.nodes) await this.startOn(node, ...args);
    for (const node of this.lab.nodes) await this.settled(node);
  }

  /** The control socket of a node's agent. */
  socketOf(node: LabNode): string {
    return `${this.#folder}/${node.name}/agent.sock`;
  }

  async startOn(node: LabNode, ...args: readonly string[]): Promise<void> {
    await this.#start(node, ['--manifests', `${this.#folder}/manifests`, ...args]);
    await this.settled(node);
  }

  /** Starts the agent of a node whose API server cannot be reached, and resolves when it answers. */
  async startWithoutApiServer(node: LabNode): Promise<void> {
    const path = `${this.#folder}/${node.name}/kubeconfig`;
    writeFileSync(path, JSON.stringify(unreachableCluster));
    await this.#start(node, ['--kubeconfig', path]);
    await this.status(node);
  }

  async #start(node: LabNode, args: readonly string[]): Promise<void> {
    const folder = `${this.#folder}/${node.name}`;
    mkdirSync(folder, { recursive: true });
    const socket = this.socketOf(node);
    const config = `${folder}/config.yaml`;
    const cni = {
      binDir: `${folder}/bin`,
      configDir: `${folder}/net.d`,
      socket: `${folder}/cni.sock`,
    };
    for (const each of [cni.binDir, cni.configDir]) mkdirSync(each, { recursive: true });
    writeFileSync(config, JSON.stringify({ network: true, cni, ...this.#settings }));
    const agent = node.spawn(
      process.execPath,
      [
        ...[program, 'agent', '--config', config],
        ...['--node', node.name, '--cgroup', node.cgroup, '--bpffs', node.bpffs],
        ...['--socket', socket, ...args],
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    agent.stderr!.on('data', (data) => {
      this.log = `${this.log}${node.name}: ${data}`.slice(-30_000);
    });
    const client = await this.until(`the agent of ${node.name} to answer`, async () => {
      if (agent.exitCode !== null) throw new Error(`start agent: it ended:\n${this.log}`);
      try {
        return await ControlClient.connect(socket);
      } catch {
        return undefined;
      }
    });
    this.#agents.set(node, { process: agent, client });
  }

  /** Resolves when all rows of a node are programmed. */
  async settled(node: LabNode): Promise<void> {
    await this.until(`all rows of ${node.name} to be programmed`, async () => {
      const status = await this.status(node).catch(unlessLate);
      return status?.synced && status.source.complete && status.rows.pending === 0;
    });
  }

  async kill(node: LabNode): Promise<void> {
    const agent = this.#agents.get(node);
    if (!agent) return;
    this.#agents.delete(node);
    agent.client[Symbol.dispose]();
    const exited = once(agent.process, 'exit');
    agent.process.kill('SIGKILL');
    await exited;
  }

  async status(node: LabNode): Promise<AgentStatus> {
    return (await this.#agents.get(node)!.client.request('status')) as AgentStatus;
  }

  /** Returns the answer of a node's agent to a request. */
  async request(node: LabNode, method: string, params?: Record<string, unknown>): Promise<unknown> {
    return await this.#agents.get(node)!.client.request(method, params);
  }

  /** Returns what a node has about the others. */
  async nodes(node: LabNode): Promise<readonly NodeEntry[]> {
    const entries: NodeEntry[] = [];
    for await (const entry of this.#agents.get(node)!.client.items<NodeEntry>('node.list')) {
      entries.push(entry);
    }
    return entries;
  }

  async until<Result>(
    what: string,
    condition: Parameters<typeof eventually<Result>>[1],
  ): ReturnType<typeof eventually<Result>> {
    const detail = () => `The agents' log:\n${this.log}`;
    return eventually(what, condition, { ms: 60_000, stepMs: 10, detail });
  }

  [Symbol.dispose](): void {
    for (const { client } of this.#agents.values()) client[Symbol.dispose]();
    this.lab.remove();
  }

  /** The first address of a node's range is the node's own in tunnels, so the pod gets the second one. */
  #addPod(node: LabNode): void {
    const first = this.lab.addPod(node);
    this.lab.addPod(node);
    this.lab.removePod(first);
  }

  #plugin(node: LabNode, name?: PodName): CniPlugin {
    const folder = `${this.#folder}/${node.name}`;
    return new CniPlugin({
      path: `${folder}/bin/heddle-cni`,
      socketOf: () => `${folder}/cni.sock`,
      ...(name && { nameOf: () => name }),
    });
  }

  #put(object: ManifestObject): void {
    this.#objects.set(keyOf(object), object);
  }

  #write(): void {
    const text = [...this.#objects.values()]
      .map((each) => `---\n${JSON.stringify(each)}\n`)
      .join('');
    const path = `${this.#folder}/manifests/nodes.yaml`;
    writeFileSync(`${this.#folder}/nodes.new`, text);
    renameSync(`${this.#folder}/nodes.new`, path);
  }
}

/** Returns undefined for the error of an agent that has not answered in time: the machine may have much else to do. */
function unlessLate(error: unknown): undefined {
  if (!(error as Error).message.includes('no answer')) throw error;
}
