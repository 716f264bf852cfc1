import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { timestampOf } from '@heddle/hubble';
import { type Flow, FlowSchema } from '@heddle/hubble/messages';
import { Traffic } from './traffic.ts';

const now = Date.UTC(2026, 0, 2);

function accept(traffic: Traffic, fields: object): void {
  const flow: Flow = create(FlowSchema, { time: timestampOf(now), ...fields });
  traffic.accept(toBinary(FlowSchema, flow), 'n1', now, now + 1);
}

test('huge texts of a peer are kept in part only', () => {
  const traffic = new Traffic({ flows: 16 }, now);
  const huge = 'x'.repeat(20_000);
  const workloads = Array.from({ length: 100 }, () => ({ name: huge, kind: huge }));
  const labels = Array.from({ length: 1000 }, () => huge.slice(0, 300));
  const source = { namespace: huge, podName: huge, clusterName: huge, labels, workloads };
  accept(traffic, { source, sourceNames: [huge], IP: { source: huge } });
  const { from } = traffic.ring.at(0);
  const { workload, podSeen, ...end } = from;
  const kept = JSON.stringify([end, workload.name, workload.namespace, podSeen?.name]).length;
  assert.ok(kept < 30_000, `${kept} characters are kept`);
  assert.equal(from.endpoint?.labels.length, 32);
});

test('times of a peer before the history do not move its beginning, nor fill the memory', () => {
  const traffic = new Traffic({ flows: 16 }, now);
  accept(traffic, { time: timestampOf(1000) });
  assert.equal(traffic.keptSince, now);
  for (let minute = 0; minute < 100; minute++) traffic.lose('n1', 1, minute * 60_000, now);
  assert.equal(traffic.lostIn(0, now - 86_400_000), 0);
  assert.equal(traffic.lostIn(0, now), 100);
});

test('links of workloads that differ in their kind only have different ids', () => {
  const traffic = new Traffic({ flows: 16 }, now);
  for (const kind of ['StatefulSet', 'DaemonSet']) {
    const workloads = [{ name: 'web', kind }];
    accept(traffic, { source: { namespace: 'shop', podName: `web-${kind}`, workloads } });
  }
  assert.equal(new Set([...traffic.links.rows].map(({ id }) => id)).size, 2);
});
