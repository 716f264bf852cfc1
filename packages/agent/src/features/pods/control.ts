import { formatRecord } from '@heddle/ipam';
import { NetlinkSocket } from '@heddle/netlink';
import { checkPodInterfaces, type PodInterface, type PodInterfaceState } from '@heddle/podnet';
import type { Platform } from '@heddle/sys';
import { ControlError } from '../../control/protocol.ts';
import type { Methods, Params } from '../../feature.ts';
import type { Attachment } from './attachments.ts';
import type { PodsDatapath } from './datapath.ts';
import type { PodNetwork } from './pod-network.ts';
import type { AttachmentEntry, CheckedAttachment, RemovedAttachment } from './status.ts';

/** A pod's object, and its first process, may appear this much later than the call of the runtime. */
const youngMs = 60_000;

export interface PodControlOptions {
  readonly platform: Platform;
  readonly network: PodNetwork;
  readonly datapath: PodsDatapath;
  /** Returns the MTU of pod interfaces. */
  readonly mtu: () => number;
  /** Returns the names (`namespace/name`) of the pods of this node, or undefined as long as they are unknown. */
  readonly podNames: () => ReadonlySet<string> | undefined;
}

/** Returns the control methods about pod interfaces. */
export function podMethods(options: PodControlOptions): Methods {
  return {
    'attachment.list': () => ({ items: options.network.attachments.map(entryOf) }),
    'attachment.check': () => ({ items: checkAll(options) }),
    'attachment.gc': (params) => ({ items: collectAll(options, params) }),
  };
}

/** The methods where Heddle is not the network of the cluster. */
export const withoutPods: Methods = {
  'attachment.list': () => ({ items: [] }),
  'attachment.check': () => ({ items: [] }),
  'attachment.gc': () => ({ items: [] }),
};

/** Answers `attachment.check`: compares all pod interfaces, and what the datapath has of them. */
function checkAll(options: PodControlOptions): CheckedAttachment[] {
  const { network, datapath } = options;
  const { attachments } = network;
  const states = statesOf(options);
  const programmed = datapath.pods.problems(attachments);
  return attachments.map((attachment, i) => ({
    ...entryOf(attachment),
    problems: [...states.get(attachment.name)!.problems, ...programmed[i]!],
  }));
}

/**
 * Answers `attachment.gc`: removes the interfaces of pods that are gone. With `dryRun` it only lists them. A runtime
 * that has lost its state does not call DEL for them.
 */
function collectAll(options: PodControlOptions, { dryRun = false }: Params): RemovedAttachment[] {
  if (typeof dryRun !== 'boolean') {
    throw new ControlError('bad-params', 'remove pods: dryRun is neither true nor false');
  }
  const { platform, network, podNames } = options;
  const states = statesOf(options);
  const names = podNames();
  const oldMs = platform.wallTimeMs() - youngMs;
  return network.attachments.flatMap((attachment) => {
    const isYoung = attachment.addedMs !== undefined && attachment.addedMs > oldMs;
    const state = states.get(attachment.name)!;
    const reason = isYoung ? undefined : goneReason(state, isPod(attachment, names));
    if (reason === undefined) return [];
    if (!dryRun) network.disconnect(attachment, reason);
    return [{ ...entryOf(attachment), reason }];
  });
}

function statesOf({ platform, network, mtu }: PodControlOptions) {
  using node = new NetlinkSocket(platform);
  const expected = network.attachments.map((each) => settingsOf(each, mtu()));
  return checkPodInterfaces(platform, node, expected);
}

function goneReason({ hasNamespace }: PodInterfaceState, isKnown: boolean): string | undefined {
  // In a container the agent may not see the namespaces of pods that run.
  if (hasNamespace === false)
    return 'its network namespace is gone: no mount and no process leads to it';
  return isKnown ? undefined : 'its pod is gone: the API server has none of this name on this node';
}

/** Returns false if the pod of an attachment is known to be gone. */
function isPod({ record: { pod } }: Attachment, names: ReadonlySet<string> | undefined): boolean {
  return !pod || !names || names.has(`${pod.namespace}/${pod.name}`);
}

/** Returns the settings with which the interface was made. */
function settingsOf({ name, kind, mac, record }: Attachment, mtu: number): PodInterface {
  return {
    ...{ name, kind, mtu, podName: record.interfaceName, podMac: mac },
    alias: formatRecord(record),
    addresses: record.addresses.map((address) => ({ address })),
  };
}

function entryOf(attachment: Attachment): AttachmentEntry {
  const { record, name, ifindex, kind, mac, mtu, addresses, addedMs } = attachment;
  const { pod, podUid, interfaceName, containerId } = record;
  return {
    namespace: pod?.namespace ?? '',
    name: pod?.name ?? '',
    ...(podUid === undefined ? {} : { podUid }),
    addresses,
    interface: name,
    podInterface: interfaceName,
    ...{ ifindex, kind, mac, mtu, containerId },
    ...(addedMs === undefined ? {} : { since: new Date(addedMs).toISOString() }),
  };
}
