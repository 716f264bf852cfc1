import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import type { LabNode, LabPod, PodConnection, PodPlugin } from '@heddle/lab';

interface Configuration {
  readonly cniVersion: string;
  readonly name: string;
  readonly plugins: readonly { readonly type: string }[];
}

interface Result {
  readonly interfaces: readonly { readonly name: string; readonly sandbox?: string }[];
  readonly ips: readonly { readonly address: string; readonly interface?: number }[];
}

export interface CniRuntimeOptions {
  readonly node: LabNode;
  readonly configDir: string;
  /** The directories in which plug-ins are looked for. */
  readonly binDirs: readonly string[];
  /** Fields of each plug-in's configuration that are replaced. */
  readonly replaced?: object;
}

/** A pod by the name of its container and the file of its network namespace. */
type RuntimePod = Pick<LabPod, 'name' | 'netnsPath'>;

/**
 * Connects pods as a container runtime does (libcni): it runs the plug-ins of the first network configuration by name,
 * whichever that is now, also for the removal of a pod that another one has connected.
 */
export class CniRuntime implements PodPlugin {
  readonly #options: CniRuntimeOptions;
  readonly #results = new Map<string, Result>();

  constructor(options: CniRuntimeOptions) {
    this.#options = options;
  }

  /** The name of the network that connects pods now; undefined if there is none. */
  get network(): string | undefined {
    return this.#configuration()?.name;
  }

  async add(pod: RuntimePod): Promise<PodConnection> {
    let result: Result | undefined;
    for (const plugin of this.#plugins()) result = await this.#run('ADD', pod, plugin, result);
    this.#results.set(pod.name, result!);
    const { interfaces, ips } = result!;
    const address = (isV6: boolean) =>
      ips.map((each) => each.address.split('/')[0]!).find((each) => each.includes(':') === isV6);
    return {
      nodeLink: interfaces.findLast(({ sandbox }) => !sandbox)!.name,
      addresses: { v4: address(false) ?? '', v6: address(true) ?? '' },
    };
  }

  async remove(pod: RuntimePod): Promise<void> {
    const result = this.#results.get(pod.name);
    for (const plugin of this.#plugins().toReversed()) await this.#run('DEL', pod, plugin, result);
    this.#results.delete(pod.name);
  }

  #configuration(): Configuration | undefined {
    const { configDir } = this.#options;
    const [first] = readdirSync(configDir)
      .filter((name) => name.endsWith('.conflist'))
      .sort();
    return first && JSON.parse(readFileSync(`${configDir}/${first}`, 'utf8'));
  }

  #plugins(): Configuration['plugins'] {
    const configuration = this.#configuration();
    if (!configuration) throw new Error('connect pod: the runtime has no network configuration');
    const { cniVersion, name, plugins } = configuration;
    const { replaced } = this.#options;
    return plugins.map((plugin) => ({ cniVersion, name, ...plugin, ...replaced }));
  }

  async #run(
    command: 'ADD' | 'DEL',
    pod: RuntimePod,
    plugin: { readonly type: string },
    prevResult: Result | undefined,
  ): Promise<Result | undefined> {
    const { node, binDirs } = this.#options;
    const path = binDirs.map((folder) => `${folder}/${plugin.type}`).find(existsSync);
    if (path === undefined) throw new Error(`find plug-in ${plugin.type}: there is none`);
    const child = node.spawn(path, [], {
      env: {
        CNI_COMMAND: command,
        CNI_CONTAINERID: pod.name,
        CNI_NETNS: pod.netnsPath,
        CNI_IFNAME: 'eth0',
        CNI_PATH: binDirs.join(':'),
        CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${pod.name};K8S_POD_UID=${pod.name}`,
        PATH: process.env.PATH,
      },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    // The plug-in may end before it has read everything.
    child.stdin!.on('error', () => {});
    child.stdin!.end(JSON.stringify({ ...plugin, ...(prevResult && { prevResult }) }));
    const ended = once(child, 'close');
    const output = await text(child.stdout!);
    const [status] = await ended;
    if (status !== 0) throw new Error(`${plugin.type} ${command} ${pod.name}: ${output}`);
    return output === '' ? undefined : JSON.parse(output);
  }
}
