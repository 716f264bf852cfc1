import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { parseIp } from '@heddle/sys';
import { flowRecord, shop, world } from '../../testing/flows.ts';
import { eventType, type FlowRecord, ipProtocol, party, tcpFlag } from '../flows/record.ts';
import {
  DNSSchema,
  DropReason,
  LostEventSource,
  PolicyDecision_Relation,
  TraceObservationPoint,
  TrafficDirection,
  Verdict,
} from '../generated/flow/flow_pb.js';
import { MetricsError } from './context.ts';
import { FlowMetrics } from './metrics.ts';

/** Returns the series of these flows, without comments and the counter of losses. */
function series(settings: readonly string[], ...flows: readonly Partial<FlowRecord>[]): string[] {
  const metrics = new FlowMetrics(settings);
  for (const flow of flows) metrics.add(flowRecord(flow));
  return metrics
    .text()
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
}

const drop = {
  ...{ verdict: Verdict.DROPPED, dropReason: DropReason.POLICY_DENIED, isReply: undefined },
  eventType: eventType.drop,
};
const v6 = { source: parseIp('fd00::1')!, destination: parseIp('fd00::2')! };

function dns(isResponse: boolean, init: object = {}): Partial<FlowRecord> {
  const message = create(DNSSchema, { query: 'db.', qtypes: ['A'], ...init });
  const l7 = { eventType: eventType.layer7, dns: { isResponse, latency: 0n, dns: message } };
  return { ...l7, protocol: ipProtocol.udp, isReply: isResponse };
}

test('flows are counted by protocol, type, point and verdict', () => {
  const verdict = { eventType: eventType.policyVerdict, protocol: 47 };
  const delivered = { observationPoint: TraceObservationPoint.TO_ENDPOINT, ...v6, protocol: 58 };
  assert.deepEqual(series(['flow'], {}, {}, drop, delivered, verdict, dns(true)), [
    'hubble_flows_processed_total{protocol="TCP",type="Trace",subtype="to-stack",verdict="FORWARDED"} 2',
    'hubble_flows_processed_total{protocol="TCP",type="Drop",subtype="",verdict="DROPPED"} 1',
    'hubble_flows_processed_total{protocol="ICMPv6",type="Trace",subtype="to-endpoint",verdict="FORWARDED"} 1',
    'hubble_flows_processed_total{protocol="Unknown flow",type="PolicyVerdict",subtype="",verdict="FORWARDED"} 1',
    'hubble_flows_processed_total{protocol="DNS",type="L7",subtype="DNS",verdict="FORWARDED"} 1',
  ]);
});

test('drops are counted by reason; a reason without a name has its number', () => {
  assert.deepEqual(series(['drop'], {}, drop, { ...drop, dropReason: 250, protocol: 17 }), [
    'hubble_drop_total{reason="POLICY_DENIED",protocol="TCP"} 1',
    'hubble_drop_total{reason="250",protocol="UDP"} 1',
  ]);
});

test('TCP flags are counted once each, of forwarded flows', () => {
  const flags = (tcpFlags: number) => ({ tcpFlags });
  const { SYN, ACK, FIN, RST } = tcpFlag;
  assert.deepEqual(
    series(
      ['tcp'],
      ...[flags(SYN), flags(SYN | ACK), flags(FIN | ACK), { ...flags(RST), ...v6 }, flags(ACK)],
      ...[
        { ...drop, ...flags(SYN) },
        { ...flags(SYN), protocol: 17 },
      ],
    ),
    [
      'hubble_tcp_flags_total{flag="SYN",family="IPv4"} 1',
      'hubble_tcp_flags_total{flag="SYN-ACK",family="IPv4"} 1',
      'hubble_tcp_flags_total{flag="FIN",family="IPv4"} 1',
      'hubble_tcp_flags_total{flag="RST",family="IPv6"} 1',
    ],
  );
});

test('ICMP messages have their names in both families', () => {
  const message = (sourcePort: number, destinationPort: number) => ({
    ...{ sourcePort, destinationPort, protocol: ipProtocol.icmp },
  });
  assert.deepEqual(
    series(
      ['icmp'],
      ...[message(8, 0), message(0, 0), message(3, 3), message(3, 99), message(200, 1), {}],
      ...[
        { ...message(128, 0), ...v6 },
        { ...message(1, 4), ...v6 },
      ],
    ).map((line) => /\{(.*)\}/.exec(line)![1]),
    [
      'family="IPv4",type="EchoRequest"',
      'family="IPv4",type="EchoReply"',
      'family="IPv4",type="DestinationUnreachable(Port)"',
      'family="IPv4",type="DestinationUnreachable(Code: 99)"',
      'family="IPv4",type="200(1)"',
      'family="IPv6",type="EchoRequest"',
      'family="IPv6",type="DestinationUnreachable(PortUnreachable)"',
    ],
  );
});

test('ports of servers are counted, never those of clients', () => {
  const reply = { isReply: true };
  const unknown = { isReply: undefined };
  const udp = { protocol: 17, destinationPort: 53 };
  assert.deepEqual(series(['port-distribution'], {}, reply, unknown, drop, udp, { protocol: 1 }), [
    'hubble_port_distribution_total{protocol="TCP",port="443"} 1',
    'hubble_port_distribution_total{protocol="UDP",port="53"} 1',
    'hubble_port_distribution_total{protocol="ICMPv4",port="0"} 1',
  ]);
});

test('policy verdicts are counted by direction, match and action, without those of the node', () => {
  const verdict = { eventType: eventType.policyVerdict, direction: TrafficDirection.INGRESS };
  const decision = {
    ...{ direction: TrafficDirection.INGRESS, verdict: Verdict.FORWARDED, rule: 1, ruleName: '' },
    relation: PolicyDecision_Relation.DECIDES,
    policy: { kind: 'NetworkPolicy', namespace: 'a', name: 'b' },
  };
  const node = { ...verdict, sourceParty: party({ identity: 1 }) };
  assert.deepEqual(
    series(['policy'], {}, node, { ...verdict, decisions: [decision] }, { ...drop, ...verdict }),
    [
      'hubble_policy_verdicts_total{direction="ingress",match="l3-l4",action="forwarded"} 1',
      'hubble_policy_verdicts_total{direction="ingress",match="none",action="dropped"} 1',
    ],
  );
});

test('flows to the world can be limited to SYNs, and have ports and all drops if asked for', () => {
  const flows = [
    ...[{}, { tcpFlags: tcpFlag.ACK }, { isReply: true }, { destinationParty: shop }],
    ...[drop, { ...drop, dropReason: DropReason.TTL_EXCEEDED }, { protocol: 47 }],
  ];
  assert.deepEqual(series(['flows-to-world'], ...flows), [
    'hubble_flows_to_world_total{protocol="TCP",verdict="FORWARDED"} 2',
    'hubble_flows_to_world_total{protocol="TCP",verdict="DROPPED"} 1',
  ]);
  assert.deepEqual(series(['flows-to-world:any-drop;port;syn-only'], ...flows), [
    'hubble_flows_to_world_total{protocol="TCP",verdict="FORWARDED",port="443"} 1',
    'hubble_flows_to_world_total{protocol="TCP",verdict="DROPPED",port="443"} 2',
  ]);
});

test('DNS queries, answers and types of records are counted', () => {
  const flows = [
    ...[dns(false), dns(true, { ips: ['192.0.2.1', '192.0.2.2'], rrtypes: ['CNAME', 'A'] })],
    ...[dns(true, { rcode: 3 }), { ...dns(false), ...{ verdict: Verdict.DROPPED } }],
    ...[dns(false, { qtypes: ['AAAA'] }), {}],
  ];
  assert.deepEqual(series(['dns:query;ignoreaaaa'], ...flows), [
    'hubble_dns_queries_total{rcode="",qtypes="A",ips_returned="0",query="db."} 1',
    'hubble_dns_queries_total{rcode="Policy denied",qtypes="A",ips_returned="0",query="db."} 1',
    'hubble_dns_responses_total{rcode="No Error",qtypes="A",ips_returned="2",query="db."} 1',
    'hubble_dns_responses_total{rcode="Non-Existent Domain",qtypes="A",ips_returned="0",query="db."} 1',
    'hubble_dns_response_types_total{type="CNAME",qtypes="A",query="db."} 1',
    'hubble_dns_response_types_total{type="A",qtypes="A",query="db."} 1',
  ]);
  // The query for AAAA has a series of its own here.
  assert.equal(series(['dns'], ...flows).length, 7);
});

const contexts: readonly [string, string][] = [
  [
    'sourceContext=pod;destinationContext=dns',
    'source="shop/cart-1",destination="api.example.org"',
  ],
  ['sourceContext=identity', 'source="k8s:app=cart"'],
  ['sourceContext=workload;destinationContext=workload', 'source="shop/cart",destination=""'],
  ['sourceContext=app', 'source="cart"'],
  ['destinationContext=pod|reserved-identity', 'destination="reserved:world"'],
  ['destinationContext=workload-name|ip', 'destination="192.0.2.1"'],
  ['sourceContext=namespace;sourceEgressContext=pod-name', 'source="cart-1"'],
  ['sourceContext=namespace;sourceIngressContext=pod-name', 'source="shop"'],
  ['destinationIngressContext=ip', 'destination=""'],
  [
    'labelsContext=traffic_direction,source_ip,source_workload_kind,destination_pod',
    'source_ip="10.0.0.1",source_workload_kind="Deployment",destination_pod="",traffic_direction="egress"',
  ],
  [
    'labelsContext=source_pod,source_namespace,source_workload,source_app,destination_namespace',
    'source_pod="cart-1",source_namespace="shop",source_workload="cart",source_app="cart",destination_namespace=""',
  ],
];

for (const [options, labels] of contexts) {
  test(`the options ${options} make the labels ${labels}`, () => {
    assert.deepEqual(series([`drop:${options}`], drop), [
      `hubble_drop_total{reason="POLICY_DENIED",protocol="TCP",${labels}} 1`,
    ]);
  });
}

const refused: readonly [string, RegExp][] = [
  ['flows', /^metric flows: there is no such metric; choose from flow, drop, /],
  ['http:x', /^metric http: Heddle does not observe this protocol/],
  ['constructor', /^metric constructor: there is no such metric/],
  ['flow:query', /^metric flow: there is no option "query" \(sourceContext, /],
  [
    'drop:sourceContext=node',
    /^metric drop: sourceContext has "node", which is none of: identity, /,
  ],
  [
    'drop:labelsContext=source_port',
    /^metric drop: labelsContext has "source_port", which is no label/,
  ],
];

for (const [setting, message] of refused) {
  test(`the setting ${setting} is refused with what exists`, () => {
    assert.throws(
      () => new FlowMetrics([setting]),
      (error) => error instanceof MetricsError && message.test(error.message),
    );
  });
}

test('a metric that is there twice is refused', () => {
  assert.throws(
    () => new FlowMetrics(['flow', 'flow:']),
    /^MetricsError: metric flow: it is there twice/,
  );
});

test('values are escaped, and losses are counted by their source', () => {
  const metrics = new FlowMetrics(['drop:sourceContext=pod-name']);
  metrics.add(flowRecord({ ...drop, sourceParty: party({ podName: 'a"\\\n' }) }));
  const gap = { first: 0, last: 0 };
  metrics.lose({ ...gap, source: LostEventSource.PERF_EVENT_RING_BUFFER, count: 5 });
  metrics.lose({ ...gap, source: LostEventSource.PERF_EVENT_RING_BUFFER, count: 2 });
  assert.equal(
    metrics.text(),
    [
      '# HELP hubble_drop_total Number of drops',
      '# TYPE hubble_drop_total counter',
      String.raw`hubble_drop_total{reason="POLICY_DENIED",protocol="TCP",source="a\"\\\n"} 1`,
      '# HELP hubble_lost_events_total Number of lost events',
      '# TYPE hubble_lost_events_total counter',
      'hubble_lost_events_total{source="perf_event_ring_buffer"} 7',
      '',
    ].join('\n'),
  );
});

test('beyond the limit of series the sums stay right', () => {
  const metrics = new FlowMetrics(['drop:sourceContext=pod-name']);
  const count = 10_500;
  for (let i = 0; i < count; i++) {
    metrics.add(
      flowRecord({ ...drop, sourceParty: party({ podName: `p${i}` }), destinationParty: world }),
    );
  }
  const lines = metrics
    .text()
    .split('\n')
    .filter((line) => line.startsWith('hubble_drop_total'));
  assert.equal(lines.length, 10_001);
  const sum = lines.reduce((all, line) => all + Number(line.split(' ').at(-1)), 0);
  assert.equal(sum, count);
  assert.match(lines.at(-1)!, /source="other"\} 500$/);
});
