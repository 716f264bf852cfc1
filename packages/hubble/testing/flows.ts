import { create } from '@bufbuild/protobuf';
import { parseIp } from '@heddle/sys';
import {
  type DnsRecord,
  eventType,
  type FlowRecord,
  ipProtocol,
  party,
  tcpFlag,
} from '../src/flows/record.ts';
import {
  DNSSchema,
  SocketTranslationPoint,
  TraceObservationPoint,
  TraceReason,
  TrafficDirection,
  Verdict,
} from '../src/generated/flow/flow_pb.js';

/** The time of the first flow of a test. */
export const startTime = Date.UTC(2026, 0, 2);

export const shop = party({
  ...{ identity: 300, namespace: 'shop', podName: 'cart-1', clusterName: 'default' },
  ...{ labels: ['k8s:app=cart'], workloads: [{ kind: 'Deployment', name: 'cart' }] },
});
export const world = party({ identity: 2, labels: ['reserved:world'] }, ['api.example.org']);

/** An answer of a name server. */
export const dnsAnswer: DnsRecord = {
  ...{ isResponse: true, latency: 0n },
  dns: create(DNSSchema, { query: 'a.test.', qtypes: ['A'], rrtypes: ['A'], ips: ['8.8.8.8'] }),
};

/** Returns a flow of a TCP connection from a pod to the world, with these properties. */
export function flowRecord(properties: Partial<FlowRecord> = {}): FlowRecord {
  return {
    time: startTime,
    started: startTime - 1000,
    source: parseIp('10.0.0.1')!,
    destination: parseIp('192.0.2.1')!,
    sourcePort: 40000,
    destinationPort: 443,
    frontendPort: 0,
    protocol: ipProtocol.tcp,
    tcpFlags: tcpFlag.SYN,
    verdict: Verdict.FORWARDED,
    dropReason: 0,
    direction: TrafficDirection.EGRESS,
    isReply: false,
    eventType: eventType.trace,
    observationPoint: TraceObservationPoint.TO_STACK,
    traceReason: TraceReason.NEW,
    socketPoint: SocketTranslationPoint.SOCK_XLATE_POINT_UNKNOWN,
    interfaceIndex: 0,
    bytes: 60,
    packets: 1,
    sourceParty: shop,
    destinationParty: world,
    ...properties,
  };
}

export const testNode = {
  name: 'n1',
  labels: ['zone=a'],
  interfaceName: (index: number) => `eth${index}`,
};
