import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { podInterfaceName } from '@heddle/ipam';
import { addAddress, findLink, NetlinkSocket, NetworkNamespace } from '@heddle/netlink';
import { prepareNamespace, removePodInterface } from '@heddle/podnet';
import type { Platform } from '@heddle/sys';
import { nodePlatform } from '@heddle/sys/node';
import type { Feature, Params } from '../src/feature.ts';
import { podsFeature } from '../src/features/pods/pods.ts';
import type { AttachmentEntry, PodsStatus } from '../src/features/pods/status.ts';
import { type CniTestAnswer, type CniTestOutput, callCni } from './cni-client.ts';
import { CrashingPlatform } from './crashing-platform.ts';
import { FakeHost } from './host.ts';
import { MemoryPods } from './parts.ts';

/** A pod of a test: a network namespace, and the id of its container. */
export class TestPod implements Disposable {
  readonly namespace: NetworkNamespace;
  readonly socket: NetlinkSocket;
  readonly id: string;
  readonly platform: Platform;

  constructor(platform: Platform, id: string) {
    this.platform = platform;
    this.id = id;
    this.namespace = NetworkNamespace.create(platform);
    this.socket = this.namespace.enter(() => new NetlinkSocket(platform));
  }

  [Symbol.dispose](): void {
    this.socket[Symbol.dispose]();
    this.namespace[Symbol.dispose]();
  }
}

export interface PodsNodeOptions {
  readonly podCIDRs?: readonly string[];
  readonly config?: Partial<FakeHost['config']>;
}

/** A node: a network namespace in which the pods feature runs, with its pods in the datapath of a Map. */
export class PodsNode implements Disposable {
  readonly folder = mkdtempSync(`${tmpdir()}/heddle-pods-`);
  readonly socketPath = `${this.folder}/cni.sock`;
  readonly namespace: NetworkNamespace;
  readonly socket: NetlinkSocket;
  readonly datapath = new MemoryPods();
  host!: FakeHost;
  readonly lines: string[] = [];
  feature: Feature;
  /** The process of the agent. */
  process!: CrashingPlatform;
  readonly #own: Platform;
  readonly #config: Partial<FakeHost['config']>;

  constructor({ podCIDRs = ['10.7.0.0/24', 'fd00:7::/64'], config = {} }: PodsNodeOptions = {}) {
    this.#own = nodePlatform((level, message) => this.lines.push(`${level} ${message}`));
    const own = this.#own;
    this.namespace = NetworkNamespace.create(own);
    prepareNamespace(own, this.namespace);
    this.socket = this.namespace.enter(() => new NetlinkSocket(own));
    for (const address of ['192.0.2.1/32', 'fd00::1/128']) {
      addAddress(this.socket, findLink(this.socket, 'lo')!.index, address);
    }
    this.#config = {
      network: true,
      podCIDRs,
      ...config,
      cni: {
        binDir: `${this.folder}/bin`,
        configDir: `${this.folder}/net.d`,
        socket: this.socketPath,
      },
    };
    this.feature = this.#open();
  }

  #open(): Feature {
    const own = this.#own;
    // The agent's thread is in the namespace of its node; that of the test is not.
    const inside = (work: () => void) => () => this.namespace.enter(work);
    this.process = new CrashingPlatform({
      ...own,
      onReadable: (fd, ready) => own.onReadable(fd, inside(ready)),
      setTimer: (milliseconds, fire) => own.setTimer(milliseconds, inside(fire)),
    });
    this.host = new FakeHost(this.process.platform, this.#config);
    const feature = this.namespace.enter(() => podsFeature.open(this.host, this.datapath));
    feature.apply([], true);
    return feature;
  }

  /** Starts the feature again, as the next agent does. */
  restart(): void {
    if (!this.process.isKilled) this.feature[Symbol.dispose]();
    this.feature = this.#open();
  }

  get platform(): Platform {
    return this.#own;
  }

  get attachments(): readonly AttachmentEntry[] {
    const list = this.feature.methods!['attachment.list']!({}, () => false);
    return (list as { items: AttachmentEntry[] }).items;
  }

  /** Calls a control method, in the node's namespace as the agent does. */
  request<Item>(method: string, params: object = {}): readonly Item[] {
    const answer = this.namespace.enter(() =>
      this.feature.methods![method]!(params as Params, () => false),
    );
    return (answer as { items: Item[] }).items;
  }

  get status(): NonNullable<PodsStatus['pods']> {
    return (this.feature.status!() as PodsStatus).pods!;
  }

  pod(id: string): TestPod {
    return new TestPod(this.#own, id);
  }

  /** Calls the plug-in's socket. `more` are further variables, and `config` further fields of the configuration. */
  call(
    verb: string,
    pod: TestPod | undefined,
    { version = '1.1.0', config = {}, more = {} }: CallOptions = {},
  ): Promise<CniTestAnswer> {
    const ofPod = pod && {
      CNI_CONTAINERID: pod.id,
      CNI_NETNS: `/run/netns/${pod.id}`,
      CNI_IFNAME: 'eth0',
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${pod.id};K8S_POD_UID=uid-${pod.id}`,
    };
    return callCni(this.#own, this.socketPath, {
      environment: { CNI_COMMAND: verb, CNI_PATH: '/opt/cni/bin', ...ofPod, ...more },
      input: { cniVersion: version, name: 'heddle', type: 'heddle-cni', ...config },
      ...(pod && verb !== 'DEL' ? { descriptor: pod.namespace.fd } : {}),
    });
  }

  /** Calls ADD, and returns its result. Throws an Error with what it answers if it fails. */
  async add(pod: TestPod, options?: CallOptions): Promise<CniTestOutput> {
    const { isSuccess, output } = await this.call('ADD', pod, options);
    if (!isSuccess) throw new Error(JSON.stringify(output));
    return output;
  }

  /** Calls DEL and then removes the interface, as the plug-in does. */
  async remove(pod: TestPod): Promise<CniTestAnswer> {
    const answer = await this.call('DEL', pod);
    removePodInterface(this.socket, podInterfaceName(pod.id, 'eth0'));
    return answer;
  }

  [Symbol.dispose](): void {
    if (!this.process.isKilled) this.feature[Symbol.dispose]();
    this.socket[Symbol.dispose]();
    this.namespace[Symbol.dispose]();
    rmSync(this.folder, { recursive: true });
  }
}

export interface CallOptions {
  readonly version?: string;
  readonly config?: object;
  readonly more?: Readonly<Record<string, string>>;
}
