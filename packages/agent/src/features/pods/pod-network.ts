import {
  AddressesExhausted,
  AddressPool,
  type AttachmentRecord,
  type FamilyUsage,
  formatRecord,
  parseRanges,
  podInterfaceName,
  podMac,
  RecordTooLong,
} from '@heddle/ipam';
import {
  findLink,
  isNetlinkError,
  listAddresses,
  NetlinkSocket,
  NetworkNamespace,
  namespaceId,
} from '@heddle/netlink';
import { createPodInterface, isNameTaken, PodLinkExists, removePodInterface } from '@heddle/podnet';
import { Disposal, type Platform, SysError } from '@heddle/sys';
import type { EventLog } from '../../events.ts';
import type { FeatureHost } from '../../feature.ts';
import { type Attachment, Attachments, attachmentOf } from './attachments.ts';
import type { AttachmentKey, CniCall, PodNames } from './cni/call.ts';
import { CniError } from './cni/errors.ts';
import type { AddedPod } from './cni/result.ts';
import type { CniHandler } from './cni/verbs.ts';
import { PodCongestion } from './congestion.ts';
import type { PodsDatapath } from './datapath.ts';
import { LinkRemover } from './link-remover.ts';
import { OtherNetworks } from './other-networks.ts';

export interface PodNetworkOptions {
  readonly platform: Platform;
  readonly events: EventLog;
  readonly datapath: PodsDatapath;
  readonly kind: 'veth' | 'netkit';
  /** The congestion control of all pods; undefined for that of the node. */
  readonly congestionControl: string | undefined;
  /** The directory of network settings; see Sysctls. */
  readonly sysctls: string;
  /** The agent, for the features that have to know pods before they start. */
  readonly host: Pick<FeatureHost, 'attach' | 'detach' | 'holdPod'>;
  /** Returns the sizes of packets on new interfaces. Throws NetlinkError. */
  readonly sizes: () => PacketSizes;
}

/** Sizes of packets on a pod interface, in bytes. */
export interface PacketSizes {
  readonly mtu: number;
  /** The largest packet before segmentation, or undefined if it is the kernel's default. */
  readonly segmentSize: number | undefined;
}

/**
 * The pods that this node has given an interface: the work behind the verbs of CNI. The kernel's interfaces are the
 * record of the pods, so that nothing else has to be kept: an address is used as long as its interface exists.
 */
export class PodNetwork implements CniHandler, Disposable {
  readonly #options: PodNetworkOptions;
  readonly #opened = new Disposal();
  readonly #node: NetlinkSocket;
  readonly #attachments: Attachments;
  readonly #pool: AddressPool;
  readonly #others: OtherNetworks;
  readonly #remover: LinkRemover;
  readonly #ownInode: bigint;
  readonly #congestion: PodCongestion;
  #isComplete = false;
  #ranges = '';
  #problems: readonly string[] = [];

  /** Takes over the pods of an earlier agent. Throws SysError, NetlinkError. */
  constructor(options: PodNetworkOptions) {
    this.#options = options;
    const { platform, datapath, sysctls, events } = options;
    const fallback = options.congestionControl;
    this.#congestion = new PodCongestion({ platform, events, sysctls, fallback });
    this.#pool = new AddressPool({ isUsable: (address) => datapath.pods.hasRoom(address) });
    try {
      this.#node = this.#opened.use(new NetlinkSocket(platform));
      using own = NetworkNamespace.current(platform);
      this.#ownInode = own.inode;
      this.#remover = this.#opened.use(new LinkRemover(platform, this.#node));
      this.#attachments = this.#opened.use(
        new Attachments(platform, this.#node, (attachment) => this.#onGone(attachment)),
      );
      this.#others = this.#opened.use(
        new OtherNetworks({
          ...{ platform, node: this.#node, sysctls, events, pool: this.#pool },
          own: () => this.#attachments.all,
          nowMs: () => this.#nowMs(),
        }),
      );
      this.#takeOver();
    } catch (error) {
      this.#opened[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#opened[Symbol.dispose]();
  }

  get attachments(): readonly Attachment[] {
    return this.#attachments.all;
  }

  get count(): number {
    return this.#attachments.count;
  }

  get usage(): readonly FamilyUsage[] {
    return this.#pool.usage();
  }

  /** Sentences about ranges and congestion controls that cannot be used. */
  get problems(): readonly string[] {
    return [...this.#problems, ...this.#congestion.problems];
  }

  get isStarting(): boolean {
    return !this.#isComplete;
  }

  get notReady(): string | undefined {
    const { kind, datapath } = this.#options;
    if (!datapath.pods.supports(kind)) {
      return `the kernel has no ${kind} (Linux 6.8 with CONFIG_NETKIT); set podInterface to veth`;
    }
    if (this.isStarting) return 'the agent has not read all objects yet';
    if (this.#pool.usage().length > 0) return undefined;
    return 'the node has no ranges of addresses for pods yet (spec.podCIDRs of its Node object, or podCIDRs of the configuration)';
  }

  get unavailable(): string | undefined {
    const full = this.#pool.usage().find(({ used, total }) => used >= total);
    const reason =
      full && `all ${full.total} ${full.family} addresses of ${full.ranges.join(', ')} are used`;
    return this.notReady ?? reason;
  }

  /** The source has delivered everything. */
  setComplete(): void {
    this.#isComplete = true;
  }

  /** Sets the ranges of addresses for new pods. */
  setRanges(texts: readonly string[]): void {
    const { ranges, problems } = parseRanges(texts);
    this.#problems = problems.map((problem) => `use range of addresses for pods: ${problem}`);
    this.#pool.setRanges(ranges);
    const key = ranges.map(({ text }) => text).join();
    if (key !== this.#ranges) this.#others.look();
    this.#ranges = key;
  }

  add(call: CniCall & { readonly verb: 'ADD' }, namespace: NetworkNamespace): AddedPod {
    this.#checkNamespace(namespace, call.netns);
    const known = this.#present(call);
    const attachment = known
      ? this.#addAgain(known, call, namespace)
      : this.#addNew(call, namespace);
    const { kind, name, mac, mtu, addresses } = attachment;
    const { interfaceName, netns } = call;
    return { kind, name, interfaceName, mac, mtu, addresses, netns };
  }

  hold({ addresses }: AddedPod, done: () => void): Disposable | undefined {
    const [first] = addresses;
    return first === undefined ? undefined : this.#options.host.holdPod(first, done);
  }

  giveUp(call: AttachmentKey & PodNames): CniError {
    const attachment = this.#attachments.find(call);
    if (attachment) this.disconnect(attachment, 'its network policies are not known');
    const { pod, podUid } = call;
    const name = pod && `${pod.namespace}/${pod.name}${podUid ? ` with the UID ${podUid}` : ''}`;
    const reason = name
      ? `the API server has not reported the Pod ${name} in time, so its network policies are not known`
      : 'CNI_ARGS names no Pod, so its network policies are not known (networkPolicy: false needs none)';
    return new CniError('tryAgain', `connect pod: ${reason}`);
  }

  remove(key: AttachmentKey): void {
    const attachment = this.#attachments.find(key);
    // The address is free when the plug-in has removed the interface.
    if (attachment) this.#options.datapath.pods.remove(attachment.ifindex);
  }

  check(
    call: CniCall & { readonly verb: 'CHECK' },
    namespace: NetworkNamespace,
    addresses: readonly string[],
  ): void {
    this.#checkNamespace(namespace, call.netns);
    const attachment = this.#attachments.find(call);
    const link = attachment && findLink(this.#node, attachment.ifindex);
    if (!attachment || !link) {
      const { containerId, interfaceName } = call;
      const message = `check pod: container ${containerId} has no interface ${interfaceName}`;
      throw new CniError('unknownContainer', message);
    }
    const changed = (what: string) => new CniError('changed', `check pod: ${what}`);
    for (const address of attachment.addresses) {
      if (!addresses.includes(address)) throw changed(`prevResult does not have ${address}`);
    }
    using inside = this.#node.openIn(namespace.fd);
    const peer = findLink(inside, call.interfaceName);
    if (!peer || peer.index !== link.peer) {
      throw changed(`${call.interfaceName} is not the other end of ${link.name}`);
    }
    if (!peer.up || !link.up) throw changed(`${call.interfaceName} is down`);
    const present = listAddresses(inside, peer.index).map(({ address }) => address);
    for (const address of attachment.addresses) {
      if (!present.includes(address)) throw changed(`${call.interfaceName} has lost ${address}`);
    }
  }

  /** Removes a pod's interface soon. */
  disconnect({ name, ifindex, record }: Attachment, reason: string): void {
    const { datapath, events } = this.#options;
    datapath.pods.remove(ifindex);
    this.#remover.add({ index: ifindex, name });
    events.add('info', 'removed', podLabel(record), `interface ${name} is removed: ${reason}`);
  }

  collect(valid: readonly AttachmentKey[]): void {
    const wanted = new Set(
      valid.map(({ containerId, interfaceName }) => podInterfaceName(containerId, interfaceName)),
    );
    for (const attachment of this.#attachments.all) {
      if (wanted.has(attachment.name)) continue;
      this.disconnect(attachment, 'the container runtime does not know it');
    }
    for (const link of this.#attachments.read().unfinished) this.#remover.add(link);
  }

  /** Sets the MTU of existing pods in the datapath, whose interfaces have it now. */
  setMtu(mtu: number): void {
    for (const attachment of this.#attachments.all) {
      const changed = { ...attachment, mtu };
      this.#options.datapath.pods.set(changed);
      this.#attachments.add(changed);
    }
  }

  /** Returns the attachment of a container's interface if the interface exists. */
  #present(key: AttachmentKey): Attachment | undefined {
    const attachment = this.#attachments.find(key);
    if (!attachment || findLink(this.#node, attachment.ifindex)) return attachment;
    // The kernel's message about its end has not been read yet.
    this.#attachments.gone(attachment.ifindex);
    return undefined;
  }

  /** Sets what the interfaces of an earlier agent need, before anything of others is removed. */
  #takeOver(): void {
    const { platform, datapath } = this.#options;
    const { attachments, unfinished, problems } = this.#attachments.read();
    for (const problem of problems) platform.log('warn', problem);
    for (const link of unfinished) this.#remover.add(link);
    for (const attachment of attachments) {
      this.#attachments.add(attachment);
      this.#pool.reserve(attachment.addresses);
      this.#report(attachment);
      try {
        datapath.pods.set(attachment);
      } catch (error) {
        const message = `program pod: ${(error as Error).message}`;
        this.#options.events.add('warn', 'problem', podLabel(attachment.record), message);
      }
    }
    datapath.pods.prune(this.#attachments.ifindexes);
  }

  #onGone(attachment: Attachment): void {
    const { ifindex, addresses } = attachment;
    this.#options.datapath.pods.remove(ifindex);
    this.#options.host.detach(addresses);
    this.#pool.release(addresses, this.#nowMs());
    this.#others.remove(attachment);
  }

  /** Answers a second ADD of a container: the same result, if the interface is in that namespace. */
  #addAgain(
    attachment: Attachment,
    { containerId, interfaceName }: AttachmentKey,
    namespace: NetworkNamespace,
  ): Attachment {
    const { name, ifindex, record } = attachment;
    const link = findLink(this.#node, ifindex);
    if (record.containerId !== containerId || record.interfaceName !== interfaceName) {
      throw new CniError(
        'taken',
        `connect pod: ${name} belongs to container ${record.containerId}`,
      );
    }
    if (link?.peerNamespaceId !== namespaceId(this.#node, namespace.fd)) {
      const other = `container ${containerId} has ${interfaceName} in another network namespace`;
      throw new CniError('taken', `connect pod: ${other}`);
    }
    this.#options.datapath.pods.set(attachment);
    return attachment;
  }

  #addNew(call: CniCall & { readonly verb: 'ADD' }, namespace: NetworkNamespace): Attachment {
    const { containerId, interfaceName, pod, podUid } = call;
    this.#others.beforeAllocation();
    const allocation = this.#allocate();
    const { addresses, isEarly } = allocation;
    const record: AttachmentRecord = { containerId, interfaceName, podUid, addresses, pod };
    if (isEarly) {
      const message = `${addresses.join(' and ')} is reused early, because no other address is free`;
      this.#options.events.add('warn', 'problem', podLabel(record), message);
    }
    try {
      const created = this.#create(record, namespace);
      this.#congestion.set(call, namespace, podLabel(record));
      return created;
    } catch (error) {
      this.#pool.release(addresses, this.#nowMs());
      throw toCniError(error);
    }
  }

  /** Has the features know a pod before its interface is up. */
  #report({ record: { pod, podUid }, addresses }: Attachment): void {
    if (pod) this.#options.host.attach({ ...pod, uid: podUid ?? '' }, addresses);
  }

  #allocate() {
    try {
      return this.#pool.allocate(this.#nowMs());
    } catch (error) {
      if (!(error instanceof AddressesExhausted)) throw error;
      throw new CniError('tryAgain', error.message);
    }
  }

  #create(record: AttachmentRecord, namespace: NetworkNamespace): Attachment {
    const { platform, datapath, kind, sysctls } = this.#options;
    const name = podInterfaceName(record.containerId, record.interfaceName);
    const { mtu, segmentSize } = this.#options.sizes();
    const alias = formatRecord(record);
    let attachment: Attachment | undefined;
    const settings = {
      ...{ kind, name, alias, mtu, sysctls },
      podName: record.interfaceName,
      podMac: podMac(name),
      addresses: record.addresses.map((address) => ({ address })),
      ...(segmentSize === undefined ? {} : { segmentSize }),
    };
    const create = () =>
      createPodInterface(platform, this.#node, namespace, settings, ({ link }) => {
        attachment = attachmentOf(link, record, platform.wallTimeMs());
        datapath.pods.set(attachment);
        this.#report(attachment);
      });
    try {
      this.#withoutUnfinished(name, create);
    } catch (error) {
      if (attachment) {
        datapath.pods.remove(attachment.ifindex);
        this.#options.host.detach(attachment.addresses);
      }
      throw error;
    }
    this.#attachments.add(attachment!);
    this.#others.add(attachment!);
    return attachment!;
  }

  /** Creates an interface, in place of one that an interrupted ADD has left. */
  #withoutUnfinished(name: string, create: () => void): void {
    try {
      create();
    } catch (error) {
      if (!isNameTaken(error)) throw error;
      const link = findLink(this.#node, name);
      if (link?.alias !== undefined) {
        throw new CniError('taken', `connect pod: ${name} exists and is not known (${link.alias})`);
      }
      removePodInterface(this.#node, name);
      create();
    }
  }

  #checkNamespace(namespace: NetworkNamespace, path: string): void {
    const refuse = (reason: string) =>
      new CniError('environment', `enter CNI_NETNS ${path}: ${reason}`);
    if (namespace.inode === this.#ownInode) throw refuse("it is the node's own network namespace");
    try {
      namespace.enter(() => {});
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      throw error.code === 'EINVAL' ? refuse('it is no network namespace') : error;
    }
  }

  #nowMs(): number {
    return Number(this.#options.platform.monotonicNs() / 1_000_000n);
  }
}

/** Returns the name by which events call a pod. */
export function podLabel({ pod, containerId, interfaceName }: AttachmentRecord): string {
  return pod ? `${pod.namespace}/${pod.name}` : `${containerId}/${interfaceName}`;
}

function toCniError(error: unknown): unknown {
  if (error instanceof PodLinkExists) return new CniError('taken', error.message);
  if (error instanceof RecordTooLong) return new CniError('environment', error.message);
  if (isNetlinkError(error, 'EOPNOTSUPP')) {
    const remedy = 'netkit needs Linux 6.8 with CONFIG_NETKIT (or set podInterface to veth)';
    return new CniError('failed', error.message, remedy);
  }
  return error;
}
