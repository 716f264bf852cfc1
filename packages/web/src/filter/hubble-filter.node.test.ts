import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import { fromJson, type JsonObject } from '@bufbuild/protobuf';
import { flowMatch } from '@heddle/hubble';
import {
  DropReason,
  type Flow,
  FlowFilterSchema,
  FlowSchema,
  TrafficDirection,
  Verdict,
} from '@heddle/hubble/messages';
import fc from 'fast-check';
import type { LinkVerdict, WorkloadKind } from '../contract.ts';
import {
  compileFilter,
  type FilterEnd,
  type FilterSubject,
  hubbleCommand,
  hubbleFilters,
  parseFilter,
  reasonNames,
} from './index.ts';

const cases: readonly (readonly [string, object[], object[], string[]])[] = [
  ['ns:shop', [{ source_pod: ['shop/'] }, { destination_pod: ['shop/'] }], [], []],
  [
    'from-ns:shop port:443 port:80-81',
    [
      { source_pod: ['shop/'], destination_port: ['443'] },
      { source_pod: ['shop/'], destination_port: ['80', '81'] },
    ],
    [],
    [],
  ],
  ['-to:10.0.0.0/8', [], [{ destination_ip: ['10.0.0.0/8'] }], []],
  ['-verdict:dropped', [], [], ['-verdict:dropped']],
  // Both words need the field source_pod.
  ['from-ns:a from:b/', [{ source_pod: ['a/'] }], [], ['from:b/']],
  ['dns:*.a.org', [{ dns_query: ['(?i)^.*\\.a\\.org\\.?$'] }], [], []],
  ['policy:none cart', [], [], ['policy:none', 'cart']],
  ['port:1-1000', [], [], ['port:1-1000']],
  ['port:x ns:a', [{ source_pod: ['a/'] }, { destination_pod: ['a/'] }], [], []],
];

describe("a filter as Hubble's lists", () => {
  for (const [text, allow, deny, left] of cases) {
    it(text, () => {
      const found = hubbleFilters(parseFilter(text));
      assert.deepEqual(found.allow, allow);
      assert.deepEqual(found.deny, deny);
      assert.deepEqual(
        found.left.map((word) => word.text),
        left,
      );
    });
  }
});

test('the command quotes the values for a shell', () => {
  assert.equal(
    hubbleCommand(parseFilter(`from-ns:"a'b" -port:80`)),
    `hubble observe --allowlist '{"source_pod":["a'\\''b/"]}' --denylist '{"destination_port":["80"]}'`,
  );
});

test("the page knows Hubble's reasons of drops", () => {
  const own = Object.entries(DropReason).filter(([name]) => Number.isNaN(Number(name)));
  assert.deepEqual(reasonNames, Object.fromEntries(own.map(([name, number]) => [number, name])));
});

/** Returns the flow that a client's packet of a subject has. */
function flowOf({ from, to, verdict, protocol, port, reason, service, flow }: FilterSubject): Flow {
  const end = ({ namespace, pod, name, kind, labels }: FilterEnd) => ({
    ...{ namespace, podName: pod ?? '', labels: labels ?? [] },
    workloads: pod === undefined ? [] : [{ name, kind }],
    identity: ({ Outside: 2, Host: 1, Node: 6 } as Record<string, number>)[kind] ?? 300,
  });
  const l4 = { sourcePort: 40_000, destinationPort: port };
  const flags = { SYN: (flow!.flags & 2) !== 0, ACK: (flow!.flags & 16) !== 0 };
  const [servingNamespace, serving] = service.split('/');
  return fromJson(FlowSchema, {
    ...{ source: end(from), destination: end(to), nodeName: flow!.node },
    IP: { source: from.address!, destination: to.address! },
    l4: protocol === 6 ? { TCP: { ...l4, flags } } : { UDP: l4 },
    verdict: Verdict[{ forwarded: 1, dropped: 2, refused: 2, audit: 4 }[verdict]]!,
    dropReasonDesc: DropReason[reason]!,
    destinationService: { namespace: servingNamespace ?? '', name: serving ?? '' },
    trafficDirection: TrafficDirection[flow!.direction === 'ingress' ? 1 : 2]!,
    ...(flow!.dns === undefined ? {} : { l7: { dns: { query: flow!.dns } } }),
  } as unknown as JsonObject);
}

const names = fc.constantFrom('a', 'ab', 'b');
const end: fc.Arbitrary<FilterEnd> = fc.oneof(
  fc.record({
    ...{ namespace: names, name: names, kind: fc.constant<WorkloadKind>('Deployment') },
    ...{ pod: names, address: fc.constantFrom('10.0.0.1', '10.1.0.1', 'fd00::1') },
    labels: fc.constantFrom(['k8s:app=a'], []),
  }),
  fc.record({
    ...{ namespace: fc.constant(''), name: fc.constantFrom('x.org', '192.0.2.0/24') },
    kind: fc.constantFrom<WorkloadKind>('Outside', 'Host', 'Node'),
    address: fc.constant('192.0.2.1'),
  }),
);
const subject: fc.Arbitrary<FilterSubject> = fc
  .record({
    ...{
      from: end,
      to: end,
      service: fc.constantFrom('', 'a/ab'),
      protocol: fc.constantFrom(6, 17),
    },
    ...{ port: fc.constantFrom(53, 80, 443), rules: fc.constant([]), firstSeen: fc.constant(0) },
    verdict: fc.constantFrom<LinkVerdict>('forwarded', 'dropped', 'refused', 'audit'),
    reason: fc.constant(0),
    flow: fc.record({
      ...{
        direction: fc.constantFrom('ingress' as const, 'egress'),
        flags: fc.constantFrom(2, 18),
      },
      ...{
        node: fc.constantFrom('n1', 'eu/n1'),
        dns: fc.constantFrom(undefined, 'A.org.', 'b.org'),
      },
    }),
  })
  .map((each) => ({
    ...each,
    reason: each.verdict === 'refused' ? 158 : each.verdict === 'dropped' ? 133 : 0,
  }));
const word = fc.constantFrom(
  ...['ns:a', 'ns:ab', 'from-ns:a', 'to-ns:b', 'from:a/ab', 'to:a/', 'from:outside', 'with:a/b'],
  ...['to:10.0.0.0/8', 'from:fd00::1', 'svc:a/a', 'svc:a/ab', 'label:app=a', 'port:80-90'],
  ...[
    'port:dns',
    'proto:tcp',
    'proto:dns',
    'verdict:dropped',
    'verdict:refused',
    'to:a*',
    'to:a/a*',
  ],
  ...['verdict:forwarded', 'reason:no-endpoint', 'reason:133', 'policy:none', 'dir:ingress'],
  ...['flags:syn', 'flags:syn-ack', 'node:n1', 'node:eu/*', 'dns:*.org', 'dns:a.org', 'b'],
);
const filter = fc
  .array(fc.tuple(fc.boolean(), word), { maxLength: 5 })
  .map((words) => words.map(([isExcluded, text]) => (isExcluded ? `-${text}` : text)).join(' '));

test("Hubble's lists let through what the filter does, and nothing else if no word is left", () => {
  fc.assert(
    fc.property(filter, fc.array(subject, { maxLength: 8 }), (text, subjects) => {
      const read = parseFilter(text);
      const { allow, deny, left } = hubbleFilters(read);
      const messages = (filters: readonly object[]) =>
        filters.map((each) => fromJson(FlowFilterSchema, each as JsonObject));
      const [own, hubble] = [compileFilter(read, 1), flowMatch(messages(allow), messages(deny))];
      for (const each of subjects) {
        const isThrough = hubble(flowOf(each));
        if (own(each)) assert.ok(isThrough, text);
        else if (left.length === 0) assert.ok(!isThrough, text);
      }
    }),
    { numRuns: 2000 },
  );
});
