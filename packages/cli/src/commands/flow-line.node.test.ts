import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { FlowSchema, Verdict } from '@heddle/hubble/messages';
import { flowLine } from './flow-line.ts';

const ends = { source: '10.7.0.2', destination: '192.0.2.1' };

test('names of a flow stay on its line, and do not control the terminal', () => {
  const flow = create(FlowSchema, {
    ...{ verdict: Verdict.FORWARDED, IP: ends },
    destinationNames: ['a\n2026-01-01T00:00:00.000Z  DROPPED\u001b[2J'],
  });
  const line = flowLine(flow);
  assert.ok(!line.includes('\n'));
  assert.match(line, /192\.0\.2\.1 \(a\\u000a2026-01-01T00:00:00\.000Z {2}DROPPED\\u001b\[2J\)/);
});

test('values of a later version are shown as numbers', () => {
  const flow = create(FlowSchema, { verdict: 99 as Verdict, IP: ends });
  assert.match(flowLine(flow), /99 .*10\.7\.0\.2 -> 192\.0\.2\.1/);
});
