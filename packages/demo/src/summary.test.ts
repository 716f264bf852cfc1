import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClientReport } from '@heddle/lab';
import { failures, onceResult, onceText } from './summary.ts';

const report: ClientReport = {
  type: 'total',
  seconds: 2.34,
  targets: {
    direct: { requests: 1000, failed: 0, failures: {}, p50Us: 170, p99Us: 700, answers: {} },
    service: {
      requests: 1000,
      failed: 10,
      failures: { ECONNREFUSED: 7, EAGAIN: 3 },
      p50Us: 171.7,
      p99Us: 630,
      answers: { '10.244.1.3:8080': 490, '10.244.1.2:8080': 500 },
    },
  },
};

const state = {
  engine: 'kernel',
  backends: [
    { endpoint: '10.244.1.2:8080', pod: 'a', node: 'node1', path: 'same node', phase: 'serving' },
    { endpoint: '10.244.1.3:8080', pod: 'b', node: 'node2', path: 'direct', phase: 'serving' },
  ],
} as const;

test('onceResult counts requests to the service by backend, sorted', () => {
  assert.equal(
    JSON.stringify(onceResult(report, state)),
    '{"engine":"kernel","requests":1000,"failed":10,' +
      '"backends":{"10.244.1.2:8080":500,"10.244.1.3:8080":490},' +
      '"latencyUs":{"direct":{"p50":170,"p99":700},"service":{"p50":171.7,"p99":630}},' +
      '"pods":[{"name":"a","node":"node1","endpoint":"10.244.1.2:8080","path":"same node"},' +
      '{"name":"b","node":"node2","endpoint":"10.244.1.3:8080","path":"direct"}]}',
  );
});

test('failures returns a sentence with the reasons', () => {
  assert.deepEqual(failures(report), [
    'send service requests: 10 of 1000 failed (7 ECONNREFUSED, 3 EAGAIN)',
  ]);
});

test('onceText returns shares, latencies and their ratio', () => {
  assert.deepEqual(onceText(onceResult(report, state), '10.96.0.10:80', 2.34).split('\n'), [
    '1,000 requests to the service at 10.96.0.10:80, each on a new connection, in 2.3 s: 10 failed',
    '',
    '  answered by',
    '  10.244.1.2:8080     node1 same node      500  50.0 %  ███████████████',
    '  10.244.1.3:8080     node2 direct         490  49.0 %  ██████████████▊',
    '',
    '  connect, request, close          p50         p99',
    '  direct to a pod             170.0 µs    700.0 µs',
    '  through the service         171.7 µs    630.0 µs',
    '  service / direct                1.01        0.90',
    '',
  ]);
});
