import { isIpv4 } from '@heddle/sys';
import { type FlowRecord, ipProtocol } from '../flows/record.ts';

/** The names of points in the datapath, as metrics have them. */
export const pointNames: Readonly<Record<number, string>> = {
  101: 'to-endpoint',
  1: 'to-proxy',
  2: 'to-host',
  3: 'to-stack',
  4: 'to-overlay',
  5: 'from-endpoint',
  6: 'from-proxy',
  7: 'from-host',
  8: 'from-stack',
  9: 'from-overlay',
  10: 'from-network',
  11: 'to-network',
  12: 'from-crypto',
  13: 'to-crypto',
};

/** The texts of DNS response codes (IANA). */
const responseCodes: Readonly<Record<number, string>> = {
  0: 'No Error',
  1: 'Format Error',
  2: 'Server Failure',
  3: 'Non-Existent Domain',
  4: 'Not Implemented',
  5: 'Query Refused',
  6: 'Name Exists when it should not',
  7: 'RR Set Exists when it should not',
  8: 'RR Set that should exist does not',
  9: 'Not Authorized',
  10: 'Name not contained in zone',
  11: 'DSO-TYPE Not Implemented',
  16: 'Bad OPT Version',
  17: 'Key not recognized',
  18: 'Signature out of time window',
  19: 'Bad TKEY Mode',
  20: 'Duplicate key name',
  21: 'Algorithm not supported',
  22: 'Bad Truncation',
  23: 'Bad/missing Server Cookie',
};

/** Returns the text of a DNS response code; an unknown one is its number. */
export function responseCodeText(code: number): string {
  return responseCodes[code] ?? String(code);
}

const protocolNames = new Map<number, string>([
  [ipProtocol.tcp, 'TCP'],
  [ipProtocol.udp, 'UDP'],
  [ipProtocol.sctp, 'SCTP'],
  [ipProtocol.icmp, 'ICMPv4'],
  [ipProtocol.icmpv6, 'ICMPv6'],
  [ipProtocol.vrrp, 'VRRP'],
  [ipProtocol.igmp, 'IGMP'],
]);

/** Returns the name of the protocol of layer 4, or undefined for one that flows do not distinguish. */
export function transportName({ protocol, source }: FlowRecord): string | undefined {
  // Clients distinguish the two kinds of ICMP by the addresses.
  if (protocol === ipProtocol.icmp || protocol === ipProtocol.icmpv6) {
    return isIpv4(source) ? 'ICMPv4' : 'ICMPv6';
  }
  return protocolNames.get(protocol);
}

/** Returns the name of the highest protocol of a flow. */
export function protocolName(record: FlowRecord): string {
  return record.dns ? 'DNS' : (transportName(record) ?? 'Unknown flow');
}

/** Types of ICMP messages, and the names of their codes if there are several. */
type IcmpNames = Readonly<Record<number, readonly [string, ...string[]]>>;

const icmpNames: IcmpNames = {
  0: ['EchoReply'],
  3: [
    ...(['DestinationUnreachable', 'Net', 'Host', 'Protocol', 'Port'] as const),
    ...['FragmentationNeeded', 'SourceRoutingFailed', 'NetUnknown', 'HostUnknown'],
    ...['SourceIsolated', 'NetAdminProhibited', 'HostAdminProhibited', 'NetTOS', 'HostTOS'],
    ...['CommAdminProhibited', 'HostPrecedence', 'PrecedenceCutoff'],
  ],
  4: ['SourceQuench'],
  5: ['Redirect', 'Net', 'Host', 'TOS+Net', 'TOS+Host'],
  8: ['EchoRequest'],
  9: ['RouterAdvertisement'],
  10: ['RouterSolicitation'],
  11: ['TimeExceeded', 'TTLExceeded', 'FragmentReassemblyTimeExceeded'],
  12: ['ParameterProblem', 'PointerIndicatesError', 'MissingOption', 'BadLength'],
  13: ['TimestampRequest'],
  14: ['TimestampReply'],
};

const icmpv6Names: IcmpNames = {
  1: [
    ...(['DestinationUnreachable', 'NoRouteToDst', 'AdminProhibited', 'BeyondScopeOfSrc'] as const),
    ...['AddressUnreachable', 'PortUnreachable', 'SrcAddressFailedPolicy', 'RejectRouteToDst'],
  ],
  2: ['PacketTooBig'],
  3: ['TimeExceeded', 'HopLimitExceeded', 'FragmentReassemblyTimeExceeded'],
  4: ['ParameterProblem', 'ErroneousHeader', 'UnrecognizedNextHeader', 'UnrecognizedIPv6Option'],
  128: ['EchoRequest'],
  129: ['EchoReply'],
  133: ['RouterSolicitation'],
  134: ['RouterAdvertisement'],
  135: ['NeighborSolicitation'],
  136: ['NeighborAdvertisement'],
  137: ['Redirect'],
};

/** Returns the name of an ICMP message, e.g. `EchoRequest` or `DestinationUnreachable(Port)`. */
export function icmpText(isV6: boolean, type: number, code: number): string {
  const entry = (isV6 ? icmpv6Names : icmpNames)[type];
  if (!entry) return `${type}(${code})`;
  const [name, ...codes] = entry;
  if (codes.length === 0) return code === 0 ? name : `${name}(Code: ${code})`;
  return `${name}(${codes[code] ?? `Code: ${code}`})`;
}
