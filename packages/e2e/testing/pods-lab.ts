import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import type { AgentStatus, AttachmentEntry } from '@heddle/agent';
import { BlockingSocket, inCgroup, type LabNode } from '@heddle/lab';
import { deleteNamespace, NetworkNamespace } from '@heddle/netlink';
import { prepareNamespace } from '@heddle/podnet';
import { decodeUtf8, type Platform } from '@heddle/sys';
import { ManifestLab } from './manifest-lab.ts';

/** The result of ADD, as far as tests read it. */
export interface CniResult {
  readonly cniVersion: string;
  readonly interfaces: readonly { readonly name: string; readonly sandbox?: string }[];
  readonly ips: readonly { readonly address: string }[];
}

/** An error that a plug-in has printed. */
export class PluginError extends Error {
  override readonly name = 'PluginError';
  readonly code: number;

  constructor(
    verb: string,
    { code, msg, details }: { code: number; msg: string; details?: string },
  ) {
    super(`${verb}: ${msg}${details ? `: ${details}` : ''} (${code})`);
    this.code = code;
  }
}

/** A container of a runtime: a mounted network namespace, and the last result of ADD. */
export class Container implements Disposable {
  readonly id: string;
  readonly netns: string;
  readonly namespace: NetworkNamespace;
  readonly #platform: Platform;
  result: CniResult | undefined;

  constructor(platform: Platform, id: string, netns: string) {
    this.#platform = platform;
    this.id = id;
    this.netns = netns;
    this.namespace = NetworkNamespace.create(platform, netns);
    prepareNamespace(platform, this.namespace);
  }

  /** Starts a process in the container, by which its network namespace can be found. */
  startProcess(node: LabNode): ChildProcess {
    return inCgroup(node.cgroup, () =>
      this.namespace.enter(() => spawn('sleep', ['1000'], { stdio: 'ignore' })),
    );
  }

  /** The addresses that ADD has given, IPv4 first. */
  get addresses(): string[] {
    return (this.result?.ips ?? []).map(({ address }) => address.split('/')[0]!);
  }

  /** Sends a datagram to another container, and returns its sender. Throws SysError if it does not arrive. */
  sendTo(other: Container, family: 4 | 6): string {
    const [platform, port] = [this.#platform, 5000 + family];
    const options = { protocol: 'udp', family } as const;
    using receiver = other.namespace.enter(() => BlockingSocket.open(platform, options));
    receiver.bind({ address: family === 4 ? '0.0.0.0' : '::', port });
    using sender = this.namespace.enter(() => BlockingSocket.open(platform, options));
    sender.connect({ address: other.addresses[family === 4 ? 0 : 1]!, port });
    sender.send(this.id);
    return decodeUtf8(receiver.receive());
  }

  /** Removes the network namespace. */
  [Symbol.dispose](): void {
    this.namespace[Symbol.dispose]();
    deleteNamespace(this.#platform, this.netns);
  }
}

/**
 * A lab of one node whose pods have Heddle as their network, and a container runtime that calls the plug-ins of the
 * configuration that the agent has installed, as libcni does.
 */
export class PodsLab extends ManifestLab {
  readonly binDir: string;
  readonly configDir: string;
  readonly #config: string;
  #containers = 0;

  constructor(name: string) {
    super(name, { nodes: 1, podsPerNode: 0 });
    const folder = this.directory;
    [this.binDir, this.configDir] = [`${folder}/bin`, `${folder}/net.d`];
    mkdirSync(`${folder}/netns`);
    this.#config = `${folder}/heddle.json`;
    const { binDir, configDir } = this;
    const cni = { binDir, configDir, socket: `${folder}/cni.sock` };
    const podCIDRs = ['10.7.0.0/24', 'fd00:7::/64'];
    writeFileSync(this.#config, JSON.stringify({ network: true, podCIDRs, cni }));
  }

  override async start(): Promise<AgentStatus> {
    const status = await super.start('--config', this.#config);
    await this.until('the configuration to be there', () => this.#list() !== undefined);
    return status;
  }

  get attachments(): Promise<readonly AttachmentEntry[]> {
    return this.request<{ items: AttachmentEntry[] }>('attachment.list').then(({ items }) => items);
  }

  container(): Container {
    const id = `container-${++this.#containers}`;
    return new Container(this.platform, id, `${this.directory}/netns/${id}`);
  }

  async add(container: Container): Promise<CniResult> {
    let result: CniResult | undefined;
    for (const plugin of this.#list()!.plugins) {
      const output = await this.#run('ADD', plugin, container, result && { prevResult: result });
      result = JSON.parse(output) as CniResult;
    }
    container.result = result;
    return result!;
  }

  async check(container: Container): Promise<void> {
    const fields = { prevResult: container.result };
    for (const plugin of this.#list()!.plugins) await this.#run('CHECK', plugin, container, fields);
  }

  /** Calls DEL; without a network namespace if there is `isGone`. */
  async del(container: Container, isGone = false): Promise<void> {
    const fields = container.result && { prevResult: container.result };
    for (const plugin of [...this.#list()!.plugins].reverse()) {
      await this.#run('DEL', plugin, container, fields, isGone);
    }
    container.result = undefined;
  }

  async gc(valid: readonly Container[]): Promise<void> {
    const attachments = valid.map(({ id }) => ({ containerID: id, ifname: 'eth0' }));
    const fields = { 'cni.dev/valid-attachments': attachments };
    for (const plugin of this.#list()!.plugins) await this.#run('GC', plugin, undefined, fields);
  }

  async cniStatus(): Promise<void> {
    for (const plugin of this.#list()!.plugins) await this.#run('STATUS', plugin);
  }

  #list(): { readonly plugins: readonly { readonly type: string }[] } | undefined {
    try {
      return JSON.parse(readFileSync(`${this.configDir}/05-heddle.conflist`, 'utf8'));
    } catch {
      return undefined;
    }
  }

  async #run(
    verb: string,
    plugin: { readonly type: string },
    container?: Container,
    fields: object = {},
    isGone = false,
  ): Promise<string> {
    const ofContainer = container && {
      CNI_CONTAINERID: container.id,
      CNI_NETNS: isGone ? '' : container.netns,
      CNI_IFNAME: 'eth0',
      CNI_ARGS: `K8S_POD_NAME=${container.id};IgnoreUnknown=1;K8S_POD_NAMESPACE=default`,
    };
    const child = runIn(this.node, `${this.binDir}/${plugin.type}`, {
      ...{ CNI_COMMAND: verb, CNI_PATH: this.binDir },
      ...ofContainer,
    });
    child.stdin!.on('error', () => {});
    child.stdin!.end(JSON.stringify({ ...plugin, cniVersion: '1.1.0', name: 'heddle', ...fields }));
    const ended = once(child, 'close');
    const output = await text(child.stdout!);
    const [status] = await ended;
    if (status !== 0) throw new PluginError(verb, JSON.parse(output));
    return output;
  }
}

function runIn(node: LabNode, path: string, env: Readonly<Record<string, string>>) {
  return node.enter(() => spawn(path, [], { env, stdio: ['pipe', 'pipe', 'inherit'] }));
}
