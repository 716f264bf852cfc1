import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { type Flow, FlowFilterSchema, FlowSchema } from '../generated/flow/flow_pb.js';
import { compileFilter, flowMatch } from './filters.ts';

type FlowInit = MessageInitShape<typeof FlowSchema>;

const namespaces = ['default', 'x', 'y'];
const names = ['a', 'ab', 'b-1', ''];
const addresses = ['10.0.0.1', '10.0.1.1', '192.0.2.9', 'fd00::1', 'fd00:1::1'];
const labels = ['k8s:app=a', 'k8s:app=b', 'any:app=a', 'tier=1', 'tier=2', 'reserved:world'];
const ports = [0, 53, 80, 65535];

const end = fc.record({
  namespace: fc.constantFrom('', ...namespaces),
  podName: fc.constantFrom(...names),
  identity: fc.constantFrom(1, 2, 300),
  labels: fc.subarray(labels),
});
const portPair = fc.record({
  sourcePort: fc.constantFrom(...ports),
  destinationPort: fc.constantFrom(...ports),
});
const flow: fc.Arbitrary<FlowInit> = fc.record({
  verdict: fc.constantFrom(0, 1, 2, 5),
  dropReasonDesc: fc.constantFrom(0, 133, 181),
  isReply: fc.constantFrom(undefined, true, false),
  IP: fc.option(
    fc.record({
      source: fc.constantFrom('', ...addresses),
      destination: fc.constantFrom(...addresses),
    }),
    { nil: undefined },
  ),
  source: fc.option(end, { nil: undefined }),
  destination: fc.option(end, { nil: undefined }),
  l4: fc.oneof(
    portPair.map((value) => ({ protocol: { case: 'TCP' as const, value } })),
    portPair.map((value) => ({ protocol: { case: 'UDP' as const, value } })),
    fc.constant({ protocol: { case: 'ICMPv4' as const, value: { type: 8 } } }),
    fc.constant(undefined),
  ),
  nodeName: fc.constantFrom('', 'n1', 'c/n1', 'c/n2'),
  eventType: fc.constantFrom(undefined, { type: 1 }, { type: 4, subType: 3 }, { type: 4 }),
});

/** The bits of an address, in its own family. */
function bits(address: string): string {
  if (!address.includes(':')) {
    return `4${address
      .split('.')
      .map((part) => Number(part).toString(2).padStart(8, '0'))
      .join('')}`;
  }
  const [head, tail] = address.split('::').map((part) => (part === '' ? [] : part.split(':')));
  const groups = [...head!, ...Array(8 - head!.length - tail!.length).fill('0'), ...tail!];
  return `6${groups.map((group) => Number.parseInt(group, 16).toString(2).padStart(16, '0')).join('')}`;
}

function inRange(range: string, address: string | undefined): boolean {
  if (!address) return false;
  const [base, length] = range.split('/');
  const own = bits(address);
  const count = length === undefined ? own.length : Number(length) + 1;
  return own.slice(0, count) === bits(base!).slice(0, count);
}

function hasName(wanted: string, flowEnd: Flow['source']): boolean {
  const [namespace, prefix] = wanted.includes('/') ? wanted.split('/') : ['default', wanted];
  if (!flowEnd || flowEnd.namespace + flowEnd.podName === '') return false;
  return (
    (namespace === '' || flowEnd.namespace === namespace) && flowEnd.podName.startsWith(prefix!)
  );
}

/** A label's value by key, and by source unless it is `any`. */
function valueOfLabel(flowEnd: Flow['source'], source: string, key: string): string | undefined {
  for (const text of flowEnd?.labels ?? []) {
    const match = /^(?:([^:]*):)?([^=]*)(?:=(.*))?$/.exec(text)!;
    if (match[2] === key && (source === 'any' || source === (match[1] ?? 'unspec'))) {
      return match[3] ?? '';
    }
  }
  return undefined;
}

/** A value of a filter's field, and what it means in the model. */
interface Term {
  readonly field: string;
  readonly value: unknown;
  readonly matches: (flow: Flow) => boolean;
}

const pod: fc.Arbitrary<Term> = fc
  .tuple(
    fc.constantFrom('source' as const, 'destination' as const),
    fc.constantFrom('default/', 'x/a', '/a', 'a', 'y/ab', '/'),
  )
  .map(([side, value]) => ({
    field: `${side}Pod`,
    value,
    matches: (own) => hasName(value, own[side]),
  }));
const address: fc.Arbitrary<Term> = fc
  .tuple(
    fc.constantFrom('source' as const, 'destination' as const),
    fc.constantFrom(...addresses, '10.0.0.0/23', '0.0.0.0/0', 'fd00::/32', '::/0', '10.0.0.1/31'),
  )
  .map(([side, value]) => ({
    field: `${side}Ip`,
    value,
    matches: (own) => inRange(value, own.IP?.[side]),
  }));
const label: fc.Arbitrary<Term> = fc
  .tuple(
    fc.constantFrom('source' as const, 'destination' as const),
    fc.constantFrom('any', 'k8s', 'unspec'),
    fc.constantFrom('app', 'tier', 'world'),
    fc.constantFrom('=', '!=', 'in', 'notin', 'exists', 'absent'),
    fc.constantFrom('a', '1', ''),
  )
  .map(([side, source, key, operator, value]) => {
    const name = `${source}:${key}`;
    const text = {
      '=': `${name}=${value}`,
      '!=': ` ${name} != ${value}`,
      in: `${name} in (${value}, b)`,
      notin: `${name} notin (b,${value})`,
      exists: name,
      absent: `! ${name}`,
    }[operator]!;
    const test = (own: string | undefined) =>
      ({
        '=': own === value,
        '!=': own !== value,
        in: own === value || own === 'b',
        notin: own !== value && own !== 'b',
        exists: own !== undefined,
        absent: own === undefined,
      })[operator]!;
    return {
      field: `${side}Label`,
      value: text,
      matches: (own: Flow) => test(valueOfLabel(own[side], source, key)),
    };
  });
const port: fc.Arbitrary<Term> = fc
  .tuple(
    fc.constantFrom('sourcePort' as const, 'destinationPort' as const),
    fc.constantFrom(...ports),
  )
  .map(([field, value]) => ({
    field,
    value: String(value),
    matches: (own) => {
      const value4 = own.l4?.protocol.value;
      return value4 !== undefined && field in value4 && (value4 as never)[field] === value;
    },
  }));
const other: fc.Arbitrary<Term> = fc.oneof(
  fc.constantFrom(1, 2).map((value) => ({
    ...{ field: 'verdict', value },
    matches: (own: Flow) => own.verdict === value,
  })),
  fc.constantFrom(0, 133).map((value) => ({
    ...{ field: 'dropReasonDesc', value },
    matches: (own: Flow) => own.verdict === 2 && own.dropReasonDesc === value,
  })),
  fc.boolean().map((value) => ({
    ...{ field: 'reply', value },
    matches: (own: Flow) => own.isReply === value || (!value && !own.isReply && own.verdict === 2),
  })),
  fc.constantFrom(1, 300).map((value) => ({
    ...{ field: 'sourceIdentity', value },
    matches: (own: Flow) => own.source?.identity === value,
  })),
  fc.constantFrom('tcp', 'UDP', 'icmp').map((value) => ({
    ...{ field: 'protocol', value },
    matches: (own: Flow) =>
      (own.l4?.protocol.case ?? '').toLowerCase().replace('v4', '') === value.toLowerCase(),
  })),
  fc.constantFrom({ type: 4 }, { type: 4, matchSubType: true, subType: 0 }).map((value) => ({
    ...{ field: 'eventType', value },
    matches: ({ eventType: own }: Flow) =>
      own?.type === 4 && (value.matchSubType === undefined || own.subType === 0),
  })),
  fc.constantFrom('n1', 'c/', 'default/n*', '*/n1').map((value) => ({
    ...{ field: 'nodeName', value },
    matches: ({ nodeName }: Flow) =>
      ({
        n1: ['n1', 'c/n1'],
        'c/': ['c/n1', 'c/n2'],
        'default/n*': ['n1'],
        '*/n1': ['n1', 'c/n1'],
      })[value]!.includes(nodeName),
  })),
);
const terms = fc.array(fc.oneof(pod, address, label, port, other), { maxLength: 6 });

function byField(filter: readonly Term[]): ReadonlyMap<string, Term[]> {
  const fields = new Map<string, Term[]>();
  for (const term of filter) fields.set(term.field, [...(fields.get(term.field) ?? []), term]);
  return fields;
}

/** Terms of one field are alternatives; a flow must match all fields. */
function modelMatches(filter: readonly Term[], own: Flow): boolean {
  const fields = byField(filter);
  return [...fields.values()].every((alternatives) =>
    alternatives.some((term) => term.matches(own)),
  );
}

function message(filter: readonly Term[]) {
  const fields = byField(filter);
  const init = Object.fromEntries(
    [...fields].map(([field, values]) => [field, values.map(({ value }) => value)]),
  );
  return create(FlowFilterSchema, init as MessageInitShape<typeof FlowFilterSchema>);
}

test('a filter of random terms matches the flows that a naive model matches', () => {
  const outcomes = { true: 0, false: 0 };
  fc.assert(
    fc.property(flow, terms, (init, filter) => {
      const own = create(FlowSchema, init);
      const expected = modelMatches(filter, own);
      outcomes[`${expected}`]++;
      assert.equal(compileFilter(message(filter))(own), expected);
    }),
    { numRuns: 5000 },
  );
  // The generator must not be so narrow that one outcome hides errors of the other.
  assert.ok(Math.min(outcomes.true, outcomes.false) > 500, JSON.stringify(outcomes));
});

test('random allow and deny lists select the flows that a naive model selects', () => {
  const lists = fc.array(terms, { maxLength: 3 });
  fc.assert(
    fc.property(flow, lists, lists, (init, allow, deny) => {
      const own = create(FlowSchema, init);
      const isAllowed = allow.length === 0 || allow.some((filter) => modelMatches(filter, own));
      const expected = isAllowed && !deny.some((filter) => modelMatches(filter, own));
      assert.equal(flowMatch(allow.map(message), deny.map(message))(own), expected);
    }),
    { numRuns: 3000 },
  );
});

test('random text in a filter is compiled or refused with a reason', () => {
  const field = fc.constantFrom(
    ...(['sourcePod', 'sourceIp', 'sourceLabel', 'sourceFqdn', 'nodeName', 'dnsQuery'] as const),
    ...(['sourcePort', 'protocol', 'httpStatusCode', 'httpPath'] as const),
  );
  const text = fc.oneof(
    fc.string({ unit: 'grapheme' }),
    fc.string({ unit: fc.constantFrom(...'ab.*/:=!(),<> in0123[]\\+?^$') }),
  );
  fc.assert(
    fc.property(field, text, flow, (name, value, init) => {
      let match: ReturnType<typeof compileFilter>;
      try {
        match = compileFilter(create(FlowFilterSchema, { [name]: [value] }));
      } catch (error) {
        assert.equal((error as Error).name, 'FilterError');
        assert.match((error as Error).message, /^filter [a-z_]+: /);
        return;
      }
      assert.equal(typeof match(create(FlowSchema, init)), 'boolean');
    }),
    { numRuns: 5000 },
  );
});
