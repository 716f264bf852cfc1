import { create, toJson } from '@bufbuild/protobuf';
import { formatIp, isIpv4 } from '@heddle/sys';
import {
  AuthType,
  type Flow,
  FlowType,
  type HeddleDetail,
  IPVersion,
  L7FlowType,
  type Layer4,
  Layer4Schema,
  Layer7Schema,
  type LostEvent,
  LostEventSchema,
  type Policy,
  PolicyDecision_Relation,
  PolicyDecisionSchema,
  PolicySchema,
  type TCPFlags,
  TraceObservationPoint,
  TrafficDirection,
  Verdict,
} from '../generated/flow/flow_pb.js';
import {
  type GetFlowsResponse,
  GetFlowsResponseSchema,
} from '../generated/observer/observer_pb.js';
import {
  type Decision,
  type DnsRecord,
  eventType,
  type FlowRecord,
  ipProtocol,
  tcpFlag,
} from './record.ts';
import type { Loss } from './ring.ts';
import { timestampOf } from './time.ts';

/** The node that observes flows. */
export interface FlowNode {
  /** CLUSTER/NODE, or NODE in the cluster `default`. */
  readonly name: string;
  /** Labels in the form KEY=VALUE. */
  readonly labels: readonly string[];
  /** Returns the name of a network interface. */
  readonly interfaceName: (index: number) => string;
}

/**
 * Returns the message of a flow. `uuid` identifies it. Messages are written as literals here, because
 * filters look at far more flows than clients get, and `create()` takes ten times as long.
 */
export function flowMessage(record: FlowRecord, node: FlowNode, uuid: string): Flow {
  const { sourceParty, destinationParty, verdict, isReply, interfaceIndex } = record;
  const dropReason = verdict === Verdict.DROPPED ? record.dropReason : 0;
  return {
    $typeName: 'flow.Flow',
    ...noValues,
    time: timestampOf(record.time),
    uuid,
    verdict,
    IP: {
      $typeName: 'flow.IP',
      source: formatIp(record.source),
      destination: formatIp(record.destination),
      sourceXlated: record.sourceTranslated ? formatIp(record.sourceTranslated) : '',
      ipVersion: isIpv4(record.source) ? IPVersion.IPv4 : IPVersion.IPv6,
      encrypted: false,
    },
    l4: layer4(record),
    source: sourceParty.endpoint,
    destination: destinationParty.endpoint,
    sourceNames: sourceParty.names as string[],
    destinationNames: destinationParty.names as string[],
    Type: flowType(record),
    nodeName: node.name,
    nodeLabels: node.labels as string[],
    l7: layer7(record),
    Summary: record.dns ? dnsSummary(record.dns) : '',
    reply: isReply ?? false,
    isReply,
    eventType: {
      $typeName: 'flow.CiliumEventType',
      type: record.eventType,
      subType: subType(record),
    },
    sourceService: record.sourceService,
    destinationService: record.destinationService,
    trafficDirection: record.direction,
    policyMatchType: record.eventType === eventType.policyVerdict ? matchType(record) : 0,
    traceObservationPoint: record.observationPoint,
    traceReason: record.traceReason,
    dropReason,
    dropReasonDesc: dropReason,
    interface:
      interfaceIndex === 0
        ? undefined
        : {
            $typeName: 'flow.NetworkInterface',
            index: interfaceIndex,
            name: node.interfaceName(interfaceIndex),
          },
    sockXlatePoint: record.socketPoint,
    ...(record.decisions ? policies(record.decisions) : noPolicies),
    heddle: detail(record),
  };
}

/** The values of fields that Heddle never sets. Nothing changes a list of a flow's message. */
const noValues = {
  proxyPort: 0,
  socketCookie: 0n,
  cgroupId: 0n,
  authType: AuthType.DISABLED,
  policyLog: [] as string[],
};

const noPolicies = {
  egressAllowedBy: [] as Policy[],
  ingressAllowedBy: [] as Policy[],
  egressDeniedBy: [] as Policy[],
  ingressDeniedBy: [] as Policy[],
};

/** Returns the message of a gap. */
export function lossMessage({ source, count, first, last }: Loss): LostEvent {
  return create(LostEventSchema, {
    ...{ source, numEventsLost: BigInt(count) },
    ...{ first: timestampOf(first), last: timestampOf(last) },
  });
}

/** Returns a flow as an answer to GetFlows has it. */
export function flowResponse(flow: Flow): GetFlowsResponse {
  return create(GetFlowsResponseSchema, {
    responseTypes: { case: 'flow', value: flow },
    nodeName: flow.nodeName,
    time: flow.time,
  });
}

/**
 * Returns an answer as JSON on one line, as Hubble's exporter and `hubble observe -o jsonpb` write it. Facts
 * that only Heddle has are left out, because other readers refuse unknown names.
 */
export function responseJson(response: GetFlowsResponse): string {
  const json = toJson(GetFlowsResponseSchema, response, { useProtoFieldName: true });
  const flow = (json as { flow?: { heddle?: unknown } }).flow;
  if (flow) delete flow.heddle;
  return JSON.stringify(json);
}

/**
 * Returns a function that makes the UUIDs of a ring's entries from their numbers: RFC 9562, version 8, with
 * 60 random bits of the ring and 48 bits of the number.
 */
export function flowUuids(run: Uint8Array): (number: number) => string {
  const random = Array.from(run, (byte) => byte.toString(16).padStart(2, '0')).join('');
  const prefix = `${random.slice(0, 8)}-${random.slice(8, 12)}-8${random.slice(12, 15)}-8000-`;
  return (number) => prefix + number.toString(16).padStart(12, '0');
}

function flowType({ dns, eventType: type }: FlowRecord): FlowType {
  if (dns) return FlowType.L7;
  return type === eventType.traceSocket ? FlowType.SOCK : FlowType.L3_L4;
}

function subType(record: FlowRecord): number {
  switch (record.eventType) {
    case eventType.drop:
      return record.dropReason;
    case eventType.trace: {
      // The message has another number for this point than events have.
      const point = record.observationPoint;
      return point === TraceObservationPoint.TO_ENDPOINT ? 0 : point;
    }
    default:
      return 0;
  }
}

/** The types of matches of policies: no policy, by address and port, or a policy that allows all. */
const match = { none: 0, addressAndPort: 2, all: 4 };

/** Returns how the policies matched, as the field policy_match_type has it. */
export function matchType({ decisions, verdict }: FlowRecord): number {
  if (decisions?.some(({ relation }) => relation === PolicyDecision_Relation.DECIDES)) {
    return match.addressAndPort;
  }
  return verdict === Verdict.DROPPED ? match.none : match.all;
}

function layer4(record: FlowRecord): Layer4 | undefined {
  const { protocol, sourcePort, destinationPort, tcpFlags, source } = record;
  switch (protocol) {
    case ipProtocol.tcp:
      return {
        $typeName: 'flow.Layer4',
        protocol: {
          case: 'TCP',
          value: { $typeName: 'flow.TCP', sourcePort, destinationPort, flags: flags(tcpFlags) },
        },
      };
    case ipProtocol.udp:
      return {
        $typeName: 'flow.Layer4',
        protocol: { case: 'UDP', value: { $typeName: 'flow.UDP', sourcePort, destinationPort } },
      };
    case ipProtocol.sctp:
      return {
        $typeName: 'flow.Layer4',
        protocol: { case: 'SCTP', value: { $typeName: 'flow.SCTP', sourcePort, destinationPort } },
      };
    case ipProtocol.icmp:
    case ipProtocol.icmpv6: {
      const value = { type: sourcePort, code: destinationPort };
      const protocol = isIpv4(source)
        ? { case: 'ICMPv4' as const, value: { $typeName: 'flow.ICMPv4' as const, ...value } }
        : { case: 'ICMPv6' as const, value: { $typeName: 'flow.ICMPv6' as const, ...value } };
      return { $typeName: 'flow.Layer4', protocol };
    }
    case ipProtocol.igmp:
      return create(Layer4Schema, { protocol: { case: 'IGMP', value: { type: sourcePort } } });
    case ipProtocol.vrrp:
      return create(Layer4Schema, { protocol: { case: 'VRRP', value: { type: sourcePort } } });
    default:
      return undefined;
  }
}

function flags(bits: number): TCPFlags {
  return {
    $typeName: 'flow.TCPFlags',
    FIN: (bits & tcpFlag.FIN) !== 0,
    SYN: (bits & tcpFlag.SYN) !== 0,
    RST: (bits & tcpFlag.RST) !== 0,
    PSH: (bits & tcpFlag.PSH) !== 0,
    ACK: (bits & tcpFlag.ACK) !== 0,
    URG: (bits & tcpFlag.URG) !== 0,
    ECE: (bits & tcpFlag.ECE) !== 0,
    CWR: (bits & tcpFlag.CWR) !== 0,
    NS: (bits & tcpFlag.NS) !== 0,
  };
}

function layer7({ dns }: FlowRecord) {
  if (!dns) return undefined;
  return create(Layer7Schema, {
    type: dns.isResponse ? L7FlowType.RESPONSE : L7FlowType.REQUEST,
    latencyNs: dns.latency,
    record: { case: 'dns', value: dns.dns },
  });
}

/** Returns what the command hubble shows of a DNS message. */
function dnsSummary({ isResponse, dns }: DnsRecord): string {
  const { query, ips, cnames, ttl, rcode, qtypes } = dns;
  const asked = `${query} ${qtypes.join(',')}`;
  if (!isResponse) return `DNS Query ${asked}`;
  if (rcode !== 0) return `DNS Answer RCode: ${rcode} (${asked})`;
  const quoted = (texts: readonly string[]) => `"${texts.join(',')}"`;
  const chain = cnames.length > 0 ? ` CNAMEs: ${quoted(cnames)}` : '';
  return `DNS Answer ${quoted(ips)} TTL: ${ttl}${chain} (${asked})`;
}

function policies(decisions: readonly Decision[]) {
  const lists = {
    egressAllowedBy: [] as Policy[],
    ingressAllowedBy: [] as Policy[],
    egressDeniedBy: [] as Policy[],
    ingressDeniedBy: [] as Policy[],
  };
  for (const { direction, verdict, relation, policy } of decisions) {
    if (relation === PolicyDecision_Relation.NEAREST) continue;
    const side = direction === TrafficDirection.EGRESS ? 'egress' : 'ingress';
    const list = lists[`${side}${verdict === Verdict.FORWARDED ? 'Allowed' : 'Denied'}By`];
    const isKnown = list.some(
      ({ kind, namespace, name }) =>
        kind === policy.kind && namespace === policy.namespace && name === policy.name,
    );
    if (!isKnown) list.push(create(PolicySchema, policy));
  }
  return lists;
}

function detail(record: FlowRecord): HeddleDetail {
  return {
    $typeName: 'flow.HeddleDetail',
    bytes: BigInt(record.bytes),
    packets: BigInt(record.packets),
    started: record.started === 0 ? undefined : timestampOf(record.started),
    frontend: record.frontend ? formatIp(record.frontend) : '',
    frontendPort: record.frontend ? record.frontendPort : 0,
    decisions: (record.decisions ?? []).map((decision) => create(PolicyDecisionSchema, decision)),
  };
}
