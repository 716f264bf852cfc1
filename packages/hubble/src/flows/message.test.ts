import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, equals, fromBinary, toBinary } from '@bufbuild/protobuf';
import { parseIp } from '@heddle/sys';
import { flowRecord, testNode } from '../../testing/flows.ts';
import {
  DNSSchema,
  type DropReason,
  FlowSchema,
  LostEventSource,
  PolicyDecision_Relation,
  ServiceSchema,
  TraceObservationPoint,
  TrafficDirection,
  Verdict,
} from '../generated/flow/flow_pb.js';
import { identityOf } from './identity.ts';
import { flowMessage, flowResponse, flowUuids, lossMessage, responseJson } from './message.ts';
import { eventType, type FlowRecord, ipProtocol, tcpFlag } from './record.ts';
import { millisecondsOf, timestampOf } from './time.ts';

function json(properties: Partial<FlowRecord> = {}): Record<string, unknown> {
  const flow = flowMessage(flowRecord(properties), testNode, 'u-1');
  // The message is a literal; it must be what the library itself would make.
  assert.ok(equals(FlowSchema, flow, fromBinary(FlowSchema, toBinary(FlowSchema, flow))));
  return JSON.parse(responseJson(flowResponse(flow))).flow;
}

test('a forwarded TCP flow has the names, labels and numbers that clients show', () => {
  assert.deepEqual(json({ interfaceIndex: 3 }), {
    time: '2026-01-02T00:00:00Z',
    uuid: 'u-1',
    verdict: 'FORWARDED',
    IP: { source: '10.0.0.1', destination: '192.0.2.1', ipVersion: 'IPv4' },
    l4: { TCP: { source_port: 40000, destination_port: 443, flags: { SYN: true } } },
    source: {
      identity: 300,
      cluster_name: 'default',
      namespace: 'shop',
      labels: ['k8s:app=cart'],
      pod_name: 'cart-1',
      workloads: [{ name: 'cart', kind: 'Deployment' }],
    },
    destination: { identity: 2, labels: ['reserved:world'] },
    destination_names: ['api.example.org'],
    Type: 'L3_L4',
    node_name: 'n1',
    node_labels: ['zone=a'],
    event_type: { type: 4, sub_type: 3 },
    traffic_direction: 'EGRESS',
    trace_observation_point: 'TO_STACK',
    trace_reason: 'NEW',
    is_reply: false,
    interface: { index: 3, name: 'eth3' },
  });
});

test('a delivery to a pod has the point 101 and the sub type 0', () => {
  const flow = json({ observationPoint: TraceObservationPoint.TO_ENDPOINT, isReply: true });
  assert.equal(flow.trace_observation_point, 'TO_ENDPOINT');
  assert.deepEqual(flow.event_type, { type: 4 });
  assert.deepEqual([flow.is_reply, flow.reply], [true, true]);
});

test('a drop has its reason in all three places', () => {
  const flow = json({
    ...{ verdict: Verdict.DROPPED, dropReason: 181, eventType: eventType.drop, isReply: undefined },
    ...{ protocol: ipProtocol.udp },
  });
  assert.equal(flow.drop_reason, 181);
  assert.equal(flow.drop_reason_desc, 'POLICY_DENY');
  assert.deepEqual(flow.event_type, { type: 1, sub_type: 181 });
  assert.equal('is_reply' in flow, false);
  assert.deepEqual(flow.l4, { UDP: { source_port: 40000, destination_port: 443 } });
});

test('a reason that the API does not name keeps its number', () => {
  const flow = flowMessage(
    flowRecord({ verdict: Verdict.DROPPED, dropReason: 250 }),
    testNode,
    'u',
  );
  const read = fromBinary(FlowSchema, toBinary(FlowSchema, flow));
  assert.equal(read.dropReasonDesc, 250 as DropReason);
});

test('each protocol has its message, and others have none', () => {
  const icmp = { sourcePort: 8, destinationPort: 1 };
  const v6 = { source: parseIp('fd00::1')!, destination: parseIp('fd00::2')! };
  assert.deepEqual(json({ protocol: 1, ...icmp }).l4, { ICMPv4: { type: 8, code: 1 } });
  assert.deepEqual(json({ protocol: 58, ...icmp, ...v6 }).l4, { ICMPv6: { type: 8, code: 1 } });
  assert.deepEqual(json({ ...v6 }).IP, {
    ...{ source: 'fd00::1', destination: 'fd00::2', ipVersion: 'IPv6' },
  });
  assert.deepEqual(json({ protocol: 132 }).l4, {
    SCTP: { source_port: 40000, destination_port: 443 },
  });
  assert.equal('l4' in json({ protocol: 47 }), false);
});

test('all TCP flags have their names', () => {
  for (const [name, bits] of Object.entries(tcpFlag)) {
    const { flags } = (json({ tcpFlags: bits }).l4 as { TCP: { flags: object } }).TCP;
    assert.deepEqual(flags, { [name]: true });
  }
});

test('translations show the SNAT address, the service and what the client asked for', () => {
  const record = flowRecord({
    sourceTranslated: parseIp('198.51.100.1')!,
    frontend: parseIp('10.96.0.9')!,
    frontendPort: 80,
    destinationService: create(ServiceSchema, { namespace: 'shop', name: 'pay' }),
  });
  const flow = flowMessage(record, testNode, 'u');
  assert.equal(flow.IP?.sourceXlated, '198.51.100.1');
  assert.equal(flow.destinationService?.name, 'pay');
  assert.deepEqual([flow.heddle?.frontend, flow.heddle?.frontendPort], ['10.96.0.9', 80]);
  assert.deepEqual([flow.heddle?.bytes, flow.heddle?.packets], [60n, 1n]);
});

test('the policies that decide are listed by direction and verdict, without the nearest one', () => {
  const decision = {
    ...{ direction: TrafficDirection.INGRESS, verdict: Verdict.DROPPED, rule: 0, ruleName: '' },
    relation: PolicyDecision_Relation.ISOLATES,
    policy: { kind: 'NetworkPolicy', namespace: 'shop', name: 'only-web' },
  };
  const flow = json({
    ...{ verdict: Verdict.DROPPED, dropReason: 133, eventType: eventType.policyVerdict },
    decisions: [
      decision,
      decision,
      { ...decision, relation: PolicyDecision_Relation.NEAREST, rule: 2 },
      {
        ...{ ...decision, direction: TrafficDirection.EGRESS, verdict: Verdict.FORWARDED },
        ...{ relation: PolicyDecision_Relation.DECIDES, rule: 1 },
      },
    ],
  });
  const policy = { name: 'only-web', namespace: 'shop', kind: 'NetworkPolicy' };
  assert.deepEqual(flow.ingress_denied_by, [policy]);
  assert.deepEqual(flow.egress_allowed_by, [policy]);
  assert.equal('egress_denied_by' in flow || 'ingress_allowed_by' in flow, false);
  assert.equal(flow.policy_match_type, 2);
});

test('a DNS answer is a flow of layer 7', () => {
  const dns = create(DNSSchema, { query: 'a.example.', ips: ['192.0.2.1'], qtypes: ['A'] });
  const flow = json({
    ...{ eventType: eventType.layer7, dns: { isResponse: true, latency: 5n, dns } },
  });
  assert.equal(flow.Type, 'L7');
  assert.deepEqual(flow.l7, {
    ...{ type: 'RESPONSE', latency_ns: '5' },
    dns: { query: 'a.example.', ips: ['192.0.2.1'], qtypes: ['A'] },
  });
});

test('a gap has its count and its times', () => {
  const source = LostEventSource.PERF_EVENT_RING_BUFFER;
  const message = lossMessage({ source, count: 7, first: 1500, last: 2500.25 });
  assert.equal(message.numEventsLost, 7n);
  assert.equal(millisecondsOf(message.last!), 2500.25);
});

test('times keep fractions of a millisecond and never have a whole second of nanoseconds', () => {
  assert.deepEqual(timestampOf(1500.25).nanos, 500_250_000);
  assert.deepEqual(timestampOf(-0.5).nanos, 999_500_000);
  assert.ok(timestampOf(1999.9999999).nanos <= 999_999_999);
});

test('UUIDs differ between numbers and between rings, and are well-formed', () => {
  const [one, other] = [
    flowUuids(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)),
    flowUuids(new Uint8Array(8)),
  ];
  assert.equal(one(0x1234), '01020304-0506-8070-8000-000000001234');
  assert.match(other(2 ** 40), /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.notEqual(one(1), other(1));
  assert.notEqual(one(1), one(2));
});

test('identities depend on the labels, not on their order, and leave reserved ones alone', () => {
  const [a, b] = ['k8s:app=a', 'k8s:tier=b'];
  assert.equal(identityOf([a, b]), identityOf([b, a]));
  assert.notEqual(identityOf([a]), identityOf([b]));
  for (let i = 0; i < 1000; i++) {
    const identity = identityOf([`k8s:app=${i}`]);
    assert.ok(identity >= 256 && identity < 1 << 24);
  }
});
