import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DropEntry, VerdictEntry, VerdictRule } from '@heddle/agent';
import { type CtEntry, ctState } from '@heddle/datapath/abi';
import { parseIp } from '@heddle/sys';
import type { Decision } from '../flows/record.ts';
import { PolicyDecision_Relation, TrafficDirection, Verdict } from '../generated/flow/flow_pb.js';
import { AgentNames } from './agent-names.ts';
import { ReasonCache } from './denial-reasons.ts';
import { KnownVerdicts } from './known-verdicts.ts';
import { dropRecord } from './records.ts';
import { verdictRecords } from './verdict-records.ts';

const names = new AgentNames('default', 'n1');
const webRule: VerdictRule = { policy: 'NetworkPolicy shop/web', rule: 0, action: 'allow' };
const guardRule: VerdictRule = {
  ...{ policy: 'ClusterNetworkPolicy guard', rule: 2, name: 'no-spy', action: 'deny' },
};
const reasons = {
  isolatedBy: ['NetworkPolicy shop/web'],
  nearest: [{ ...webRule, differs: 'port' as const }],
};
const tuple = {
  ...{ protocol: 'TCP', source: '10.7.0.2', sourcePort: 1234 },
  ...{ destination: '10.7.0.3', destinationPort: 80 },
};

const shown = (decisions: readonly Decision[] | undefined) =>
  decisions?.map(
    ({ relation, direction, verdict, policy, rule, ruleName }) =>
      `${PolicyDecision_Relation[relation]} ${TrafficDirection[direction]} ${Verdict[verdict]} ${policy.kind} ${policy.namespace}/${policy.name} ${rule}${ruleName}`,
  );
const recordsOf = (more: Partial<VerdictEntry>, why?: typeof reasons) =>
  verdictRecords({ outcome: 'allowed', ...tuple, ...more }, why, names, 5000).map((record) => [
    ...[TrafficDirection[record.direction], Verdict[record.verdict], record.dropReason],
    ...[shown(record.decisions)],
  ]);

test('an allowed connection has a flow for each direction in which a rule has decided', () => {
  assert.deepEqual(recordsOf({}), []);
  assert.deepEqual(recordsOf({ egressRule: guardRule, ingressRule: webRule }), [
    [
      ...['EGRESS', 'FORWARDED', 181],
      ['DECIDES EGRESS FORWARDED ClusterNetworkPolicy /guard 3no-spy'],
    ],
    ['INGRESS', 'FORWARDED', 181, ['DECIDES INGRESS FORWARDED NetworkPolicy shop/web 1']],
  ]);
});

test('a denied connection has the rule, or the policies that isolate the pod and the nearest rules', () => {
  assert.deepEqual(recordsOf({ outcome: 'denied', direction: 'egress', egressRule: guardRule }), [
    ['EGRESS', 'DROPPED', 181, ['DECIDES EGRESS DROPPED ClusterNetworkPolicy /guard 3no-spy']],
  ]);
  assert.deepEqual(
    recordsOf({ outcome: 'denied', direction: 'ingress', egressRule: webRule }, reasons),
    [
      ['EGRESS', 'FORWARDED', 181, ['DECIDES EGRESS FORWARDED NetworkPolicy shop/web 1']],
      [
        ...['INGRESS', 'DROPPED', 133],
        [
          'ISOLATES INGRESS DROPPED NetworkPolicy shop/web 0',
          'NEAREST INGRESS FORWARDED NetworkPolicy shop/web 1',
        ],
      ],
    ],
  );
  assert.deepEqual(recordsOf({ outcome: 'denied', direction: 'ingress' }), [
    ['INGRESS', 'DROPPED', 133, []],
  ]);
});

test('what a policy in audit mode would deny is an audit verdict', () => {
  const audited = { outcome: 'would-deny', direction: 'ingress' } as const;
  assert.deepEqual(recordsOf(audited, { ...reasons, nearest: [] }), [
    ['INGRESS', 'AUDIT', 133, ['ISOLATES INGRESS AUDIT NetworkPolicy shop/web 0']],
  ]);
  assert.deepEqual(recordsOf({ ...audited, ingressRule: guardRule })[0]![1], 'AUDIT');
});

test('a dropped packet has the rule that denies it, or the reasons why none allows it', () => {
  const drop: DropEntry = {
    ...tuple,
    ...{ reason: 'a policy denies it', ifindex: 7, length: 74 },
    policy: { direction: 'ingress', rule: undefined },
  };
  const decisionsOf = (entry: DropEntry, why?: typeof reasons) =>
    shown(dropRecord(entry, names, 5000, why).decisions);
  assert.equal(decisionsOf(drop), undefined);
  assert.deepEqual(
    decisionsOf(drop, reasons)?.[0],
    'ISOLATES INGRESS DROPPED NetworkPolicy shop/web 0',
  );
  assert.deepEqual(decisionsOf({ ...drop, deniedBy: guardRule }), [
    'DECIDES INGRESS DROPPED ClusterNetworkPolicy /guard 3no-spy',
  ]);
});

const ctEntry = (properties: Partial<CtEntry> = {}): CtEntry => ({
  ...{ client: parseIp('10.7.0.2')!, clientPort: 1234, frontend: parseIp('10.96.0.1')! },
  ...{ frontendPort: 80, backend: parseIp('10.7.0.3')!, backendPort: 80, sourcePort: 1234 },
  ...{ backendId: 1, stateWord: ctState.tcpEstablished << 16 },
  ...properties,
});

test('the rules that have allowed a connection are known by its own addresses and ports', () => {
  const known = new KnownVerdicts();
  known.add({ outcome: 'allowed', ...tuple, ingressRule: webRule });
  assert.equal(known.of(ctEntry(), 6)?.length, 1);
  for (const other of [
    { clientPort: 1 },
    { backendPort: 1 },
    { client: parseIp('10.7.0.4')! },
    { backend: parseIp('10.7.0.4')! },
  ]) {
    assert.equal(known.of(ctEntry(other), 6), undefined);
  }
  assert.equal(known.of(ctEntry(), 17), undefined);
});

test('a connection that is judged again has the rules of the last time', () => {
  const known = new KnownVerdicts();
  const allowed = { outcome: 'allowed', ...tuple, ingressRule: webRule } as const;
  known.add(allowed);
  known.add({ ...allowed, outcome: 'denied', direction: 'ingress' });
  assert.equal(known.of(ctEntry(), 6), undefined);
  known.add({ ...allowed, outcome: 'would-deny', direction: 'ingress', egressRule: guardRule });
  assert.deepEqual(shown(known.of(ctEntry(), 6)), [
    'DECIDES EGRESS FORWARDED ClusterNetworkPolicy /guard 3no-spy',
  ]);
  known.add({ outcome: 'allowed', ...tuple });
  assert.equal(known.of(ctEntry(), 6), undefined);
});

test('the oldest connections are forgotten', () => {
  const known = new KnownVerdicts(2);
  for (const sourcePort of [1, 2, 3]) {
    known.add({ outcome: 'allowed', ...tuple, sourcePort, ingressRule: webRule });
  }
  const isKnown = (clientPort: number) => known.of(ctEntry({ clientPort }), 6) !== undefined;
  assert.deepEqual([1, 2, 3].map(isKnown), [false, true, true]);
});

/** A cache with a clock, whose questions a test counts. */
function cacheOf(answer: () => Promise<typeof reasons>) {
  const asked: number[] = [];
  let time = 0;
  const cache = new ReasonCache(
    (denial) => {
      asked.push(denial.port);
      return answer();
    },
    { limits: { keptMs: 5000, answers: 3, perSecond: 4 }, now: () => time },
  );
  const denial = { ...tuple, direction: 'ingress' as const };
  return {
    asked,
    ask: (port: number) => cache.of({ ...denial, port }),
    pass: (milliseconds: number) => {
      time += milliseconds;
    },
  };
}

test('the agent is asked once for equal denials, until the answer is old', async () => {
  const { ask, asked, pass } = cacheOf(async () => reasons);
  assert.deepEqual(await Promise.all([ask(80), ask(80)]), [reasons, reasons]);
  pass(4999);
  await ask(80);
  assert.deepEqual(asked, [80]);
  pass(1);
  await ask(80);
  assert.deepEqual(asked, [80, 80]);
});

test('questions are limited, and an agent that fails gives no reasons', async () => {
  const { ask, asked, pass } = cacheOf(async () => reasons);
  const answers = await Promise.all([1, 2, 3, 4, 5, 6].map(ask));
  assert.equal(answers.filter((each) => each === undefined).length, 2);
  assert.equal(asked.length, 4);
  pass(1000);
  await ask(1);
  assert.equal(asked.length, 5, 'only the latest answers are kept');
  const failing = cacheOf(() => Promise.reject(new Error('gone')));
  assert.equal(await failing.ask(80), undefined);
  assert.equal(await failing.ask(80), undefined);
  assert.deepEqual(failing.asked, [80, 80], 'it is asked again');
});
