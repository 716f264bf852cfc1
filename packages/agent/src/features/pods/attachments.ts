import {
  type AttachmentRecord,
  isPodInterfaceName,
  parseRecord,
  podInterfaceName,
  podMac,
} from '@heddle/ipam';
import {
  listLinks,
  type NetlinkSocket,
  type NetworkEvent,
  type NetworkLink,
  watchNetwork,
} from '@heddle/netlink';
import type { Platform } from '@heddle/sys';
import type { AttachmentKey } from './cni/call.ts';
import type { ProgrammedPod } from './datapath.ts';

/** A pod interface of this node, with what its alias records. */
export interface Attachment extends ProgrammedPod {
  readonly name: string;
  readonly record: AttachmentRecord;
  /** The time of ADD, milliseconds since 1970; undefined for one of an earlier agent. */
  readonly addedMs: number | undefined;
}

/** Links that are Heddle's by their names, without a record that can be read. */
export interface FoundLinks {
  readonly attachments: readonly Attachment[];
  /** Links of an ADD that was interrupted. */
  readonly unfinished: readonly NetworkLink[];
  /** Sentences about links whose alias cannot be read. */
  readonly problems: readonly string[];
}

/** Returns what the links of a node record: their aliases are the only place that knows the pods' addresses. */
export function readLinks(links: readonly NetworkLink[]): FoundLinks {
  const attachments: Attachment[] = [];
  const unfinished: NetworkLink[] = [];
  const problems: string[] = [];
  for (const link of links) {
    const parsed = parseRecord(link.alias);
    if (parsed.kind === 'record') attachments.push(attachmentOf(link, parsed.record));
    else if (!isPodInterfaceName(link.name)) continue;
    else if (parsed.kind === 'none') unfinished.push(link);
    else if (parsed.kind === 'broken') {
      problems.push(`read alias of pod interface ${link.name}: ${parsed.reason}`);
    }
  }
  return { attachments, unfinished, problems };
}

/** Link-layer address of both ends of a netkit pair. */
const noMac = '00:00:00:00:00:00';

/** Returns the attachment that a link is. */
export function attachmentOf(
  { name, index, kind, mtu }: NetworkLink,
  record: AttachmentRecord,
  addedMs?: number,
): Attachment {
  const isNetkit = kind === 'netkit';
  return {
    ...{ name, record, addedMs, mtu },
    ifindex: index,
    kind: isNetkit ? 'netkit' : 'veth',
    mac: isNetkit ? noMac : podMac(name),
    addresses: record.addresses,
  };
}

/** The pod interfaces of this node by name, as the kernel has them. */
export class Attachments implements Disposable {
  readonly #node: NetlinkSocket;
  readonly #byName = new Map<string, Attachment>();
  readonly #names = new Map<number, string>();
  readonly #watch: Disposable;
  readonly #onGone: (attachment: Attachment) => void;

  /**
   * Watches the links of the calling thread's network namespace. `onGone` is called with each attachment whose
   * interface is gone. Throws SysError, NetlinkError.
   */
  constructor(platform: Platform, node: NetlinkSocket, onGone: (attachment: Attachment) => void) {
    this.#node = node;
    this.#onGone = onGone;
    this.#watch = watchNetwork(platform, ['links'], (event) => this.#onEvent(event));
  }

  get all(): readonly Attachment[] {
    return [...this.#byName.values()];
  }

  get count(): number {
    return this.#byName.size;
  }

  get ifindexes(): ReadonlySet<number> {
    return new Set(this.#names.keys());
  }

  /** Returns the attachment of a container's interface. */
  find({ containerId, interfaceName }: AttachmentKey): Attachment | undefined {
    return this.#byName.get(podInterfaceName(containerId, interfaceName));
  }

  add(attachment: Attachment): void {
    this.#byName.set(attachment.name, attachment);
    this.#names.set(attachment.ifindex, attachment.name);
  }

  /** Reads all links: interfaces that are gone are reported, and new ones are returned. Throws NetlinkError. */
  read(): FoundLinks {
    const found = readLinks(listLinks(this.#node));
    const present = new Set(found.attachments.map(({ ifindex }) => ifindex));
    for (const ifindex of [...this.#names.keys()]) if (!present.has(ifindex)) this.gone(ifindex);
    const attachments = found.attachments.filter(({ ifindex }) => !this.#names.has(ifindex));
    return { ...found, attachments };
  }

  /** Forgets an attachment whose interface is gone; another ifindex is fine. */
  gone(ifindex: number): void {
    const name = this.#names.get(ifindex);
    if (name === undefined) return;
    const attachment = this.#byName.get(name)!;
    this.#names.delete(ifindex);
    this.#byName.delete(name);
    this.#onGone(attachment);
  }

  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
  }

  #onEvent(event: NetworkEvent): void {
    if (event.kind === 'link' && event.isRemoved) this.gone(event.link.index);
    // New interfaces are the agent's own, so only those that are gone are missed.
    else if (event.kind === 'lost') this.read();
  }
}
