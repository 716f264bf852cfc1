import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import type { AttachmentEntry } from '@heddle/agent';
import { cniPlugin } from '@heddle/assets';
import { currentPins } from '@heddle/datapath';
import { decodePod } from '@heddle/datapath/abi';
import { BpfMap, LinuxBpf } from '@heddle/ebpf';
import { listLinks, NetlinkSocket, NetworkNamespace } from '@heddle/netlink';
import { formatIp } from '@heddle/sys';
import { ManifestLab } from './manifest-lab.ts';

/** A pod of a container runtime: its network namespace, which ends with it, and the id of its container. */
export class Sandbox implements Disposable {
  readonly id: string;
  readonly namespace: NetworkNamespace;

  constructor(lab: PodNetworkLab, id: string) {
    this.id = id;
    this.namespace = NetworkNamespace.create(lab.platform);
  }

  /** A path that leads to the namespace. */
  get path(): string {
    return `/proc/${process.pid}/fd/${this.namespace.fd}`;
  }

  [Symbol.dispose](): void {
    this.namespace[Symbol.dispose]();
  }
}

/** The result of a call of the plug-in. */
export interface PluginResult {
  /** The exit code; null if the plug-in was killed. */
  readonly status: number | null;
  readonly output: string;
  /** Milliseconds from the start of the process to its end. */
  readonly ms: number;
}

/** A lab whose agent is the network of its first node, with the CNI plug-in that it installs. */
export class PodNetworkLab extends ManifestLab {
  readonly cniSocket: string;
  readonly plugin: string;
  readonly #bpf: LinuxBpf;

  constructor(name: string, podCIDRs: readonly string[]) {
    super(name);
    this.#bpf = new LinuxBpf(this.platform);
    this.cniSocket = `${this.directory}/cni.sock`;
    this.plugin = `${this.directory}/heddle-cni`;
    writeFileSync(this.plugin, cniPlugin(this.platform.arch), { mode: 0o755 });
    const cni = {
      binDir: `${this.directory}/bin`,
      configDir: `${this.directory}/net.d`,
      socket: this.cniSocket,
    };
    const config = { network: true, podCIDRs, cni, masquerade: 'none' };
    writeFileSync(`${this.directory}/config.yaml`, JSON.stringify(config));
  }

  protected override sourceArgs(): readonly string[] {
    return [...super.sourceArgs(), '--config', `${this.directory}/config.yaml`];
  }

  /** Runs the plug-in on the node. `onStart` gets its process. */
  async call(
    verb: 'ADD' | 'DEL' | 'CHECK',
    { id, path }: Pick<Sandbox, 'id' | 'path'>,
    { prevResult, onStart }: { prevResult?: unknown; onStart?: (kill: () => void) => void } = {},
  ): Promise<PluginResult> {
    const started = performance.now();
    const child = this.node.spawn(this.plugin, [], {
      env: {
        CNI_COMMAND: verb,
        CNI_CONTAINERID: id,
        CNI_NETNS: path,
        CNI_IFNAME: 'eth0',
        CNI_PATH: this.directory,
        CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${id};K8S_POD_UID=${id}`,
      },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const config = { cniVersion: '1.1.0', name: 'heddle', type: 'heddle-cni', prevResult };
    child.stdin!.on('error', () => {});
    child.stdin!.end(JSON.stringify({ ...config, socket: this.cniSocket }));
    onStart?.(() => child.kill('SIGKILL'));
    const ended = once(child, 'close');
    const output = await text(child.stdout!);
    const [status] = await ended;
    return { status, output, ms: performance.now() - started };
  }

  /** Calls ADD and returns its result. Throws an Error with what the plug-in prints. */
  async add(sandbox: Sandbox): Promise<{ readonly ips: readonly { readonly address: string }[] }> {
    const { status, output } = await this.call('ADD', sandbox);
    if (status !== 0) throw new Error(`ADD ${sandbox.id}: ${output}`);
    return JSON.parse(output);
  }

  /** Returns what the agent knows of its pods. */
  async attachments(): Promise<AttachmentEntry[]> {
    const { items } = await this.request<{ items: AttachmentEntry[] }>('attachment.list');
    return items;
  }

  /** Returns the addresses that the aliases of the node's interfaces record, with the interfaces' indexes. */
  recorded(): string[] {
    using socket = this.node.enter(() => new NetlinkSocket(this.platform));
    return listLinks(socket).flatMap(({ alias, index }) => {
      if (!alias?.startsWith('heddle:')) return [];
      const [, , ipv4, ipv6] = alias.split(' ');
      return [ipv4!, ipv6!].filter((each) => each !== '-').map((each) => `${each} ${index}`);
    });
  }

  /** Returns the node's interfaces of pods without a record. */
  unfinished(): string[] {
    using socket = this.node.enter(() => new NetlinkSocket(this.platform));
    return listLinks(socket)
      .filter(({ name, alias }) => /^hd[0-9a-f]{13}$/.test(name) && alias === undefined)
      .map(({ name }) => name);
  }

  /** Returns the addresses of the map `pods`, with the indexes of the interfaces. */
  programmed(): string[] {
    const folder = currentPins(this.node.bpffs).maps;
    using map = BpfMap.openPinned(this.#bpf, `${folder}/pods`);
    return [...map.entries()]
      .map(([, bytes]) => decodePod(bytes))
      .filter(({ ifindex }) => ifindex !== 0)
      .map(({ address, ifindex }) => `${formatIp(address)} ${ifindex}`);
  }
}
