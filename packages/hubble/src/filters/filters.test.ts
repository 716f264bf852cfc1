import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  DropReason,
  FlowFilterSchema,
  FlowSchema,
  IPVersion,
  TrafficDirection,
  Verdict,
} from '../generated/flow/flow_pb.js';
import { FilterError } from './errors.ts';
import { compileFilter, flowMatch } from './filters.ts';

type FlowInit = MessageInitShape<typeof FlowSchema>;
type FilterInit = MessageInitShape<typeof FlowFilterSchema>;

function matches(filter: FilterInit, flow: FlowInit): boolean {
  return compileFilter(create(FlowFilterSchema, filter))(create(FlowSchema, flow));
}

const web: FlowInit = {
  uuid: 'u-1',
  verdict: Verdict.FORWARDED,
  IP: { source: '10.1.0.7', destination: 'fd00:8::20', ipVersion: IPVersion.IPv4 },
  l4: {
    protocol: {
      case: 'TCP',
      value: { sourcePort: 40123, destinationPort: 8080, flags: { SYN: true, ACK: true } },
    },
  },
  source: {
    identity: 4711,
    namespace: 'shop',
    podName: 'cart-7f9-abc',
    labels: ['k8s:app=cart', 'k8s:tier=front', 'k8s:version=12', 'reserved:none'],
    workloads: [{ kind: 'Deployment', name: 'cart' }],
    clusterName: 'berlin',
  },
  destination: { identity: 2, labels: ['reserved:world'] },
  destinationNames: ['api.pay.example.org'],
  destinationService: { namespace: 'default', name: 'pay' },
  nodeName: 'berlin/worker-1.rack',
  nodeLabels: ['zone=a', 'disk'],
  eventType: { type: 4, subType: 3 },
  trafficDirection: TrafficDirection.EGRESS,
  isReply: false,
  interface: { index: 7, name: 'eth1' },
  traceContext: { parent: { traceId: 'abc' } },
  ipTraceId: { traceId: 9n },
};
const drop: FlowInit = { verdict: Verdict.DROPPED, dropReasonDesc: DropReason.POLICY_DENIED };
const http: FlowInit = {
  l7: {
    record: {
      case: 'http',
      value: {
        code: 404,
        method: 'GET',
        url: 'http://cart.shop/items/7?full=1',
        headers: [{ key: 'X-Env', value: 'dev' }],
      },
    },
  },
};
const dns: FlowInit = { l7: { record: { case: 'dns', value: { query: 'db.shop.svc.' } } } };

const cases: readonly [FilterInit, FlowInit, boolean][] = [
  [{}, {}, true],
  [{ uuid: ['u-2', 'u-1'] }, web, true],
  [{ uuid: ['u-2'] }, web, false],
  [{ sourcePod: ['shop/cart'] }, web, true],
  [{ sourcePod: ['shop/'] }, web, true],
  [{ sourcePod: ['/cart-7'] }, web, true],
  [{ sourcePod: ['cart'] }, web, false],
  [{ sourcePod: ['shop/art'] }, web, false],
  [{ destinationPod: ['/'] }, web, false],
  [{ destinationService: ['pay'] }, web, true],
  [{ sourceService: ['pay'] }, web, false],
  [{ sourceIp: ['10.0.0.0/8'] }, web, true],
  [{ sourceIp: ['::/0'] }, web, false],
  [{ destinationIp: ['::/0'] }, web, true],
  [{ destinationIp: ['fd00:8:0::20'] }, web, true],
  [{ destinationIp: ['0.0.0.0/0'] }, web, false],
  [{ sourceIpXlated: ['10.1.0.7'] }, web, false],
  [{ sourceIp: ['10.1.0.7'] }, {}, false],
  [{ sourceLabel: ['app=cart,tier in (back,front)'] }, web, true],
  [{ sourceLabel: ['app=cart,tier=back'] }, web, false],
  [{ sourceLabel: ['app=none', 'tier'] }, web, true],
  [{ sourceLabel: ['k8s:app'] }, web, true],
  [{ sourceLabel: ['node:app'] }, web, false],
  [{ sourceLabel: ['!other,app!=x,app notin (x, y)'] }, web, true],
  [{ sourceLabel: ['version>9'] }, web, true],
  [{ sourceLabel: ['version<9'] }, web, false],
  [{ sourceLabel: ['app>9'] }, web, false],
  [{ destinationLabel: ['reserved:world'] }, web, true],
  [{ destinationLabel: ['app!=cart'] }, web, true],
  [{ nodeLabels: ['disk,zone=a'] }, web, true],
  [{ nodeLabels: ['disk=ssd'] }, web, false],
  [{ sourceWorkload: [{ name: 'cart' }] }, web, true],
  [{ sourceWorkload: [{ name: 'cart', kind: 'Job' }] }, web, false],
  [{ destinationWorkload: [{}] }, web, false],
  [{ sourceClusterName: ['berlin'] }, web, true],
  [{ destinationClusterName: ['berlin'] }, web, false],
  [{ destinationFqdn: ['*.example.org.'] }, web, true],
  [{ destinationFqdn: ['API.*.org'] }, web, true],
  [{ destinationFqdn: ['example.org'] }, web, false],
  [{ sourceFqdn: ['*'] }, web, false],
  [{ verdict: [Verdict.DROPPED, Verdict.FORWARDED] }, web, true],
  [{ verdict: [Verdict.DROPPED] }, web, false],
  [{ dropReasonDesc: [DropReason.POLICY_DENIED] }, drop, true],
  [{ dropReasonDesc: [DropReason.DROP_REASON_UNKNOWN] }, web, false],
  [{ eventType: [{ type: 4 }] }, web, true],
  [{ eventType: [{ type: 4, matchSubType: true }] }, web, false],
  [{ eventType: [{ matchSubType: true, subType: 3 }] }, web, true],
  [{ eventType: [{ type: 4 }] }, drop, false],
  [{ protocol: ['TCP'] }, web, true],
  [{ protocol: ['udp', 'icmp'] }, web, false],
  [{ protocol: ['dns'] }, dns, true],
  [{ sourcePort: ['8080'] }, web, false],
  [{ destinationPort: ['80', '8080'] }, web, true],
  [{ destinationPort: ['0'] }, {}, false],
  [{ reply: [false] }, web, true],
  [{ reply: [true] }, web, false],
  [{ reply: [false] }, drop, true],
  [{ reply: [true, false] }, {}, false],
  [{ dnsQuery: ['^db\\.'] }, dns, true],
  [{ dnsQuery: ['^shop'] }, dns, false],
  [{ sourceIdentity: [4711] }, web, true],
  [{ sourceIdentity: [0] }, {}, false],
  [{ destinationIdentity: [2, 3] }, web, true],
  [{ tcpFlags: [{ SYN: true }] }, web, true],
  [{ tcpFlags: [{ SYN: true, FIN: true }] }, web, false],
  [{ tcpFlags: [{}] }, web, true],
  [{ tcpFlags: [{}] }, drop, false],
  [{ nodeName: ['worker-*'] }, web, true],
  [{ nodeName: ['berlin/'] }, web, true],
  [{ nodeName: ['/worker-1.rack'] }, web, true],
  [{ nodeName: ['default/*'] }, web, false],
  [{ nodeName: ['default/a'] }, { nodeName: 'a' }, true],
  [{ ipVersion: [IPVersion.IPv6] }, web, false],
  [{ traceId: ['abc'] }, web, true],
  [{ ipTraceId: [9n] }, web, true],
  [{ trafficDirection: [TrafficDirection.INGRESS] }, web, false],
  [{ interface: [{ name: 'eth1' }] }, web, true],
  [{ interface: [{ name: 'eth1', index: 8 }] }, web, false],
  [{ encrypted: [true] }, web, false],
  [{ encrypted: [false] }, web, true],
  [{ httpStatusCode: ['40+'] }, http, true],
  [{ httpStatusCode: ['5+', '403'] }, http, false],
  [{ httpMethod: ['get'] }, http, true],
  [{ httpPath: ['^/items/[0-9]+$'] }, http, true],
  [{ httpPath: ['full'] }, http, false],
  [{ httpUrl: ['full=1$'] }, http, true],
  [{ httpHeader: [{ key: 'X-Env', value: 'dev' }] }, http, true],
  [{ httpHeader: [{ key: 'x-env', value: 'dev' }] }, http, false],
  [{ httpMethod: ['GET'], eventType: [{ type: 129 }] }, http, false],
  [{ experimental: { celExpression: ['_flow.l4.TCP.destination_port == 8080u'] } }, web, true],
  [{ experimental: { celExpression: ['_flow.verdict == Verdict.DROPPED'] } }, drop, true],
  [{ experimental: { celExpression: ['_flow.source.labels[0] == "a"'] } }, drop, false],
  [{ sourcePod: ['shop/'], destinationPort: ['443'] }, web, false],
];

for (const [filter, flow, expected] of cases) {
  const text = JSON.stringify(filter, (_, value) =>
    typeof value === 'bigint' ? `${value}` : value,
  );
  test(`filter ${text} ${expected ? 'matches' : 'does not match'} flow ${flow.uuid ?? ''}`, () => {
    assert.equal(matches(filter, flow), expected);
  });
}

test('a denied flow is left out, also if it is allowed', () => {
  const list = (filter: FilterInit) => [create(FlowFilterSchema, filter)];
  const flow = create(FlowSchema, web);
  assert.equal(flowMatch([], [])(flow), true);
  assert.equal(flowMatch(list({ sourcePod: ['shop/'] }), [])(flow), true);
  assert.equal(flowMatch(list({ sourcePod: ['x/'] }), [])(flow), false);
  assert.equal(flowMatch([...list({ sourcePod: ['x/'] }), ...list({})], [])(flow), true);
  assert.equal(flowMatch(list({}), list({ protocol: ['tcp'] }))(flow), false);
  assert.equal(flowMatch([], list({}))(flow), false);
});

const refused: readonly [FilterInit, RegExp][] = [
  [{ sourcePort: ['http'] }, /^filter source_port: "http" is not a port number/],
  [{ destinationPort: ['65536'] }, /^filter destination_port: "65536"/],
  [{ sourceIp: ['10.0.0.0/33'] }, /^filter source_ip: "10.0.0.0\/33" is neither an IP address/],
  [{ protocol: ['quic'] }, /^filter protocol: "quic" is no known protocol \(icmp, /],
  [{ protocol: ['constructor'] }, /^filter protocol: "constructor"/],
  [{ sourcePod: [''] }, /^filter source_pod: a name is empty/],
  [{ destinationClusterName: [''] }, /^filter destination_cluster_name: a name is empty/],
  [{ sourceFqdn: ['a b'] }, /^filter source_fqdn: "a b" has " "/],
  [{ destinationFqdn: ['a..'] }, /several dots/],
  [{ nodeName: ['a/b/c'] }, /^filter node_name: "a\/b\/c" has more than one/],
  [{ dnsQuery: ['(?=a)'] }, /^filter dns_query: "\(\?=a\)" is no regular expression/],
  [{ dnsQuery: ['a'.repeat(5000)] }, /^filter dns_query: the expression has 5000 characters/],
  [{ httpStatusCode: ['600'] }, /^filter http_status_code: "600" is no status code/],
  [{ httpMethod: ['GET'], eventType: [{ type: 4 }] }, /^filter http_method: the filter event_type/],
  [{ sourceLabel: ['app in web'] }, /^filter source_label: selector "app in web": "\(" is missing/],
  [{ sourceLabel: ['app in (web'] }, /"\)" is missing/],
  [{ sourceLabel: ['a,'] }, /the key of a label is missing/],
  [{ sourceLabel: ['a/b/c'] }, /"a\/b\/c" is not the key of a label/],
  [{ sourceLabel: ['a > x'] }, /"x" is no integer/],
  [{ sourceLabel: ['a b'] }, /"b" is no operator/],
  [{ sourceLabel: ['a=b c'] }, /"c" is not expected/],
  [{ experimental: { celExpression: ['_flow.('] } }, /^filter experimental.cel_expression: /],
  [{ experimental: { celExpression: ['_flow.nope == 1'] } }, /field not found: nope/],
  [{ experimental: { celExpression: ['1 + 1'] } }, /the result is not boolean/],
];

for (const [filter, message] of refused) {
  test(`filter ${JSON.stringify(filter).slice(0, 80)} is refused with its reason`, () => {
    assert.throws(
      () => compileFilter(create(FlowFilterSchema, filter)),
      (error) => error instanceof FilterError && message.test(error.message),
    );
  });
}

test('an expression that backtracks elsewhere takes linear time', () => {
  const filter = compileFilter(create(FlowFilterSchema, { dnsQuery: ['^(a+)+$'] }));
  const query = `${'a'.repeat(20_000)}b`;
  const flow = create(FlowSchema, { l7: { record: { case: 'dns', value: { query } } } });
  assert.equal(filter(flow), false);
});
