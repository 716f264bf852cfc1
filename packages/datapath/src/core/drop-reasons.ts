import type { BpfMap } from '@heddle/ebpf';
import { type DropReason, dropReason } from '../generated/abi.ts';
import { sumOfCpus } from './per-cpu.ts';

/** A reason why a packet is dropped or a socket's call refused. */
export interface DropReasonEntry {
  /** The number in counters and events. Hubble's DropReason has the same. */
  readonly number: DropReason;
  /** The name of that number in Hubble's DropReason. */
  readonly hubbleName: string;
  /** The text in status, metrics, traces and logs. */
  readonly text: string;
}

/** The type demands an entry for each enumerator of `enum drop_reason` (bpf/include/abi.h). */
const table: Readonly<Record<DropReason, readonly [hubbleName: string, text: string]>> = {
  [dropReason.invalidSource]: ['INVALID_SOURCE_IP', 'the source address is invalid here'],
  [dropReason.policyDefault]: [
    'POLICY_DENIED',
    'network policies isolate the pod, and none of their rules allows the connection',
  ],
  [dropReason.invalid]: [
    'INVALID_PACKET_DROPPED',
    'a header is truncated, invalid or has a wrong checksum',
  ],
  [dropReason.tooLarge]: [
    // Hubble's API still has the name that this number had in earlier versions of Cilium.
    'CT_MISSING_TCP_ACK_FLAG',
    'larger than the MTU of the next hop; the sender got an ICMP error',
  ],
  [dropReason.l3Protocol]: [
    'UNSUPPORTED_L3_PROTOCOL',
    'a pod may send IP and ARP only, in frames without a VLAN',
  ],
  [dropReason.masqueradeProtocol]: [
    'CT_UNKNOWN_L4_PROTOCOL',
    'a pod cannot send this protocol to the outside with the address of the node',
  ],
  [dropReason.write]: ['ERROR_WRITING_TO_PACKET', 'the packet could not be rewritten'],
  [dropReason.protocol]: ['UNKNOWN_L4_PROTOCOL', 'services do not support this protocol'],
  [dropReason.multicast]: ['UNSUPPORTED_L2_PROTOCOL', 'multicast and broadcast of a pod'],
  [dropReason.unknownPort]: ['STALE_OR_UNROUTABLE_IP', 'the service does not have this port'],
  [dropReason.notLocal]: [
    'NO_MATCHING_LOCAL_CONTAINER_FOUND',
    'no endpoint on this node, and externalTrafficPolicy is Local',
  ],
  [dropReason.tableFull]: ['CT_MAP_INSERTION_FAILED', 'the flow table is full (raise sizes.flows)'],
  [dropReason.extensionHeader]: [
    'INVALID_IPV6_EXTENSION_HEADER',
    'too many IPv6 extension headers',
  ],
  [dropReason.fragment]: [
    'IP_FRAGMENTATION_NOT_SUPPORTED',
    'the first fragment, which has the ports, did not arrive',
  ],
  [dropReason.noBackend]: ['SERVICE_BACKEND_NOT_FOUND', 'no endpoints'],
  [dropReason.horizon]: ['EDT_HORIZON', 'the pod sends more than its egress bandwidth'],
  [dropReason.noFlow]: [
    'UNKNOWN_CONNECTION_TRACKING_STATE',
    'the packet belongs to no known connection',
  ],
  [dropReason.noPort]: [
    'NO_MAPPING_FOR_NAT_MASQUERADE',
    'all SNAT ports of this node towards the backend are in use',
  ],
  [dropReason.noRoute]: ['FIB_LOOKUP_FAILED', 'no route to the destination'],
  [dropReason.tunnel]: [
    'ENCAPSULATION_TRAFFIC_IS_PROHIBITED',
    'the packet of a pod would be taken for a tunnel of its node',
  ],
  [dropReason.sourceRange]: [
    'DENIED_BY_LB_SRC_RANGE_CHECK',
    'the client is not in loadBalancerSourceRanges',
  ],
  [dropReason.policy]: ['POLICY_DENY', 'a rule of a network policy denies the connection'],
  [dropReason.ttl]: ['TTL_EXCEEDED', 'the TTL or hop limit is exceeded'],
  [dropReason.rateLimited]: [
    'DROP_RATE_LIMITED',
    'the pod sends or receives more than its bandwidth',
  ],
};

/** All reasons, by number. */
export const dropReasons: readonly DropReasonEntry[] = Object.values(dropReason).map((number) => {
  const [hubbleName, text] = table[number];
  return { number, hubbleName, text };
});

/** Returns the text of a reason's number; one that this version does not know is named by its number. */
export function dropReasonText(number: number): string {
  return dropReasons.find((reason) => reason.number === number)?.text ?? `reason ${number}`;
}

/** A reason and the number of drops or refusals for it. */
export interface ReasonCount {
  readonly reason: string;
  readonly count: number;
}

/** Reads the counts of these reasons from a per-CPU array of counters. Throws SysError. */
export function reasonCounts(
  counters: BpfMap,
  numbers: readonly DropReason[] = Object.values(dropReason),
): ReasonCount[] {
  return numbers.map((number) => ({
    reason: dropReasonText(number),
    count: sumOfCpus(counters, number),
  }));
}
