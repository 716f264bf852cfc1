import { create } from '@bufbuild/protobuf';
import type { DnsEntry } from '@heddle/agent';
import { parseIp } from '@heddle/sys';
import type { DnsMessage } from '../dns/message.ts';
import { type DnsRecord, eventType, type FlowRecord, ipProtocol } from '../flows/record.ts';
import {
  DNSSchema,
  SocketTranslationPoint,
  TraceObservationPoint,
  TraceReason,
  TrafficDirection,
  Verdict,
} from '../generated/flow/flow_pb.js';
import type { NodeNames } from './records.ts';

/** The port of name servers. */
const dnsPort = 53;

/** Returns the bytes of an answer; undefined for text that is no hexadecimal number. */
export function messageBytes({ message }: Pick<DnsEntry, 'message'>): Uint8Array | undefined {
  if (!/^([0-9a-f]{2})*$/.test(message)) return undefined;
  return Uint8Array.from(message.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16));
}

/** Returns the flow of an answer of a name server to a pod. `time` is in milliseconds since 1970. */
export function dnsRecord(
  entry: Omit<DnsEntry, 'message'>,
  message: DnsMessage,
  names: NodeNames,
  time: number,
): FlowRecord | undefined {
  const [source, destination] = [parseIp(entry.server), parseIp(entry.client)];
  if (!source || !destination) return undefined;
  return {
    ...{ time, started: 0, source, destination, protocol: ipProtocol.udp, frontendPort: 0 },
    ...{ sourcePort: dnsPort, destinationPort: entry.clientPort, tcpFlags: 0 },
    ...{ verdict: Verdict.FORWARDED, dropReason: 0, isReply: true },
    // As Hubble has it, the direction is that of the connection.
    direction: TrafficDirection.EGRESS,
    eventType: eventType.layer7,
    observationPoint: TraceObservationPoint.TO_ENDPOINT,
    traceReason: TraceReason.REPLY,
    socketPoint: SocketTranslationPoint.SOCK_XLATE_POINT_UNKNOWN,
    ...{ interfaceIndex: 0, bytes: 0, packets: 1 },
    ...{ sourceParty: names.party(source), destinationParty: names.party(destination) },
    dns: dnsOf(message),
  };
}

function dnsOf(message: DnsMessage): DnsRecord {
  const { query, queryType, responseCode, addresses, canonicalNames, ttl, recordTypes } = message;
  return {
    ...{ isResponse: true, latency: 0n },
    dns: create(DNSSchema, {
      ...{ query: `${query}.`, ips: [...addresses], ttl, rcode: responseCode },
      cnames: canonicalNames.map((name) => `${name}.`),
      ...{ qtypes: [queryType], rrtypes: [...new Set(recordTypes)], observationSource: 'agent' },
    }),
  };
}
