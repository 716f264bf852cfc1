import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { type Flow, FlowSchema } from '@heddle/hubble/messages';
import fc from 'fast-check';
import { readFlowByLibrary } from '../../testing/flow-model.ts';
import { EndTable } from './ends.ts';
import type { RelayFlow } from './model.ts';
import { FlowReader } from './read-flow.ts';

const text = fc.oneof(
  fc.constantFrom('', 'a', 'shop', 'käse', '名前'),
  fc.string({ maxLength: 300 }),
);
const number = fc.constantFrom(0, 1, 2, 3, 6, 80, 8443, 65_535, 4_294_967_295);
const long = fc.bigInt({ min: 0n, max: (1n << 53n) - 1n });
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const policy = fc.record({ name: text, namespace: text, kind: text });
const policies = fc.array(policy, { maxLength: 3 });
const endpoint = fc.record({
  ...{ identity: fc.constantFrom(0, 1, 2, 6, 7, 9, 300), namespace: text, podName: text },
  labels: fc.array(text, { maxLength: 3 }),
  workloads: fc.array(
    fc.record({ name: text, kind: fc.constantFrom('Deployment', 'CronJob', '') }),
    { maxLength: 2 },
  ),
});
const ports = fc.record({ sourcePort: number, destinationPort: number });
const flags = fc.record({
  FIN: fc.boolean(),
  SYN: fc.boolean(),
  RST: fc.boolean(),
  ACK: fc.boolean(),
  NS: fc.boolean(),
});
const layer4 = fc.oneof(
  fc
    .tuple(ports, optional(flags))
    .map(([value, bits]) => ({ case: 'TCP', value: { ...value, flags: bits } })),
  ports.map((value) => ({ case: 'UDP', value })),
  ports.map((value) => ({ case: 'SCTP', value })),
  fc.constant({ case: 'ICMPv4', value: { type: 8, code: 1 } }),
  fc.constant({ case: 'ICMPv6', value: { type: 128 } }),
  fc.constant({ case: 'IGMP', value: { groupAddress: 'x' } }),
);
const layer7 = fc.oneof(
  text.map((query) => ({ record: { case: 'dns', value: { query } } })),
  fc
    .record({ url: text, method: text, code: number })
    .map((value) => ({ record: { case: 'http', value } })),
);
const decision = fc.record({
  ...{ relation: fc.nat(4), direction: fc.nat(2), verdict: fc.nat(4), policy: optional(policy) },
  ...{ rule: fc.nat(3), ruleName: text },
});
const service = fc.record({ name: text, namespace: text });
const address = fc.constantFrom('', '10.0.0.1', 'fd00::1', '192.0.2.77');
const flow: fc.Arbitrary<Flow> = fc
  .record({
    time: optional(
      fc.record({ seconds: fc.constantFrom(0n, 1_767_225_600n), nanos: fc.nat(999_999_999) }),
    ),
    eventType: optional(fc.record({ type: fc.constantFrom(1, 4, 5), subType: fc.nat(3) })),
    ...{ uuid: fc.constantFrom('', '01234567-89ab-8000-8000-000000000001'), verdict: fc.nat(7) },
    ...{ dropReasonDesc: fc.constantFrom(0, 133, 158, 181), trafficDirection: fc.nat(2) },
    ...{
      traceReason: fc.nat(4),
      IP: optional(fc.record({ source: address, destination: address })),
    },
    ...{ l4: optional(layer4.map((protocol) => ({ protocol }))), l7: optional(layer7) },
    ...{
      source: optional(endpoint),
      destination: optional(endpoint),
      isReply: optional(fc.boolean()),
    },
    ...{
      sourceNames: fc.array(text, { maxLength: 5 }),
      destinationNames: fc.array(text, { maxLength: 2 }),
    },
    ...{ sourceService: optional(service), destinationService: optional(service) },
    ...{ ingressAllowedBy: policies, egressAllowedBy: policies },
    ...{ ingressDeniedBy: policies, egressDeniedBy: policies },
    // Fields that the reader skips.
    ...{ nodeName: text, Summary: text, proxyPort: number, socketCookie: long },
    heddle: optional(
      fc.record({
        bytes: long,
        packets: long,
        frontend: text,
        decisions: fc.array(decision, { maxLength: 3 }),
      }),
    ),
  })
  .map((value) => create(FlowSchema, value as never));

/** Returns a flow with its ends by their properties: the two readers have ends of their own. */
function comparable({ from, to, ...rest }: RelayFlow) {
  const end = ({ workload, podSeen, endpoint: _endpoint, ...own }: RelayFlow['from']) => ({
    ...own,
    pods: [...workload.pods.keys()],
    pod: podSeen?.name,
  });
  const sorted = [...rest.rules].map((rule) => JSON.stringify(rule)).sort();
  return { ...rest, rules: sorted, from: end(from), to: end(to) };
}

test('a flow is read as the library decodes it', () => {
  fc.assert(
    fc.property(fc.array(flow, { minLength: 1, maxLength: 4 }), (flows) => {
      const reader = new FlowReader(new EndTable());
      const ends = new EndTable();
      for (const message of flows) {
        const bytes = toBinary(FlowSchema, message);
        const read = reader.read(bytes, 'n1', 5);
        assert.deepEqual(comparable(read), comparable(readFlowByLibrary(message, 'n1', 5, ends)));
      }
    }),
    { numRuns: 500 },
  );
});

test('bytes that are no flow are refused or read, and never hang', () => {
  const reader = new FlowReader(new EndTable());
  const whole = flow.map((message) => toBinary(FlowSchema, message));
  fc.assert(
    fc.property(
      fc.oneof(fc.uint8Array({ maxLength: 80 }), whole),
      fc.nat(400),
      fc.nat(255),
      (bytes, at, byte) => {
        const broken = bytes.slice();
        if (broken.length > 0) broken[at % broken.length] = byte;
        try {
          reader.read(broken, 'n1', 5);
        } catch (error) {
          assert.ok(error instanceof Error);
        }
      },
    ),
    { numRuns: 2000 },
  );
});

test('an end of the node is that of the node that reports it', () => {
  const reader = new FlowReader(new EndTable());
  const message = create(FlowSchema, { source: { identity: 1 }, IP: { source: '10.0.0.1' } });
  const bytes = toBinary(FlowSchema, message);
  const names = ['n1', 'n2', 'n1', 'n2'].map((node) => reader.read(bytes, node, 5).from.name);
  assert.deepEqual(names, ['n1', 'n2', 'n1', 'n2']);
});
