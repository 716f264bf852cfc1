import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServiceEntry } from '@heddle/agent';
import type { ClientReport, TargetReport } from '@heddle/lab';
import {
  type DemoState,
  initialState,
  withAgent,
  withBackend,
  withEvent,
  withoutBackend,
  withReport,
  withServices,
} from './state.ts';
import { fit, lineWidth, plainText, spread, terminalText } from './text.ts';
import { bar, renderView, sparkline } from './view.ts';

const start = Date.UTC(2026, 0, 2, 3, 4, 5);

function entry(family: string, address: string): ServiceEntry {
  return {
    key: `default/hello:http/TCP/${family}`,
    namespace: 'default',
    name: 'hello',
    port: 'http',
    protocol: 'TCP',
    family,
    frontends: [{ kind: 'clusterIP', address, port: 80 }],
    backends: { active: 2, draining: 0 },
    algorithm: 'random',
    forwarding: 'snat',
    affinitySeconds: 0,
    problems: [],
    status: 'done',
    since: '2026-01-02T03:04:05.000Z',
  };
}

function target(changes: Partial<TargetReport>): TargetReport {
  return {
    requests: 200,
    failed: 0,
    failures: {},
    p50Us: 100,
    p99Us: 400,
    answers: { '10.244.1.2:8080': 150, '10.244.1.3:8080': 50 },
    ...changes,
  };
}

function window(service: Partial<TargetReport> = {}): ClientReport {
  return {
    type: 'window',
    seconds: 0.5,
    targets: { service: target({ p50Us: 103, ...service }), direct: target({}) },
  };
}

function runningState(): DemoState {
  let state = withAgent(initialState, { phase: 'running', pid: 4711, adopted: false });
  state = withServices(state, [entry('IPv4', '10.96.0.10'), entry('IPv6', 'fd00:10:96::10')]);
  for (const number of [2, 3]) {
    const endpoint = `10.244.1.${number}:8080`;
    const pod = { pod: `pod-1-${number}`, node: 'node1', path: 'same node' };
    state = withBackend(state, { endpoint, ...pod, phase: 'serving' });
  }
  state = withReport(state, window({ requests: 100, answers: { '10.244.1.2:8080': 100 } }));
  state = withReport(state, window());
  state = withEvent(state, {
    timeMs: start,
    from: 'agent',
    message: 'manifests read: 2 rows programmed',
    severe: false,
  });
  return state;
}

function rendered(state: DemoState, columns: number, rows: number): string[] {
  return renderView(state, { columns, rows }, { keys: true }).map(plainText);
}

test('the view at 80 columns shows services, shares, rates, latency and events', () => {
  assert.deepEqual(rendered(runningState(), 80, 25), [
    ' heddle  services in the kernel                         agent running, pid 4711',
    '─'.repeat(80),
    ' Services',
    '   ● default/hello:http/TCP/IPv4  10.96.0.10:80          programmed  2 backends',
    '   ● default/hello:http/TCP/IPv6  [fd00:10:96::10]:80    programmed  2 backends',
    '',
    ' Share of each backend',
    '   10.244.1.2:8080   node1 same node  █████████████████████████▉         83.3 %',
    '   10.244.1.3:8080   node1 same node  █████▏                             16.7 %',
    '',
    ' Requests to the service, each on a new connection',
    '   400/s ▄▇                                   300 in all   refused 0   failed 0',
    '',
    ' Connect, request, close            p50         p99',
    '   direct to a pod             100.0 µs    400.0 µs',
    '   through the service         103.0 µs    400.0 µs',
    '   service / direct                1.03        1.00',
    '',
    ' Last events',
    '   03:04:05  agent  manifests read: 2 rows programmed',
    '',
    '',
    '',
    '',
    '  a  add a backend    r  remove one    k  kill -9 the agent    q  quit',
  ]);
});

test('the initial view shows that the agent is starting', () => {
  const lines = rendered(initialState, 60, 20);
  assert.equal(lines[0], ' heddle  services in the kernel              agent starting');
  assert.ok(lines.includes('   none yet'));
  assert.ok(lines.includes('   service / direct                   -           -'));
});

test('the view shows a killed agent, a restarted agent and a leaving backend', () => {
  const killed = withAgent(runningState(), { phase: 'killed', adopted: false });
  assert.match(rendered(killed, 80, 25)[0]!, /agent killed, the kernel continues$/);
  const back = withAgent(killed, { phase: 'running', pid: 4712, adopted: true });
  assert.match(rendered(back, 80, 25)[0]!, /agent running, pid 4712, maps and links adopted$/);

  const backend = {
    ...{ endpoint: '10.244.1.3:8080', pod: 'pod-1-3', node: 'node1', path: 'same node' },
  };
  const leaving = withBackend(back, { ...backend, phase: 'leaving' });
  assert.match(
    rendered(leaving, 80, 25)[8]!,
    /^ {3}10\.244\.1\.3:8080 {3}node1 same node {2}█+▏ +leaving$/,
  );
  const gone = withoutBackend(leaving, backend.endpoint);
  assert.equal(rendered(gone, 80, 25)[8], '');
});

test('refused connections do not count as failed', () => {
  const report = window({ failed: 30, failures: { ECONNREFUSED: 28, ETIMEDOUT: 2 } });
  const state = withReport(runningState(), report);
  assert.deepEqual(state.totals, { requests: 500, failed: 2, refused: 28 });
  assert.match(rendered(state, 80, 25)[11]!, /500 in all {3}refused 28 {3}failed 2$/);
});

test('a total report does not change the totals, which count its windows', () => {
  assert.equal(withReport(runningState(), { ...window(), type: 'total' }).totals.requests, 300);
});

test('the view fits any size of the terminal', () => {
  const state = runningState();
  for (let columns = 0; columns < 130; columns += 3) {
    for (let rows = 1; rows < 40; rows += 2) {
      const lines = renderView(state, { columns, rows }, { keys: true });
      assert.equal(lines.length, rows);
      for (const line of lines) assert.ok(lineWidth(line) <= columns, `${columns} columns`);
    }
  }
});

test('the view shows the latest events in the order of their time', () => {
  let state = runningState();
  for (const second of [9, 7, 8]) {
    const message = `event ${second}`;
    state = withEvent(state, {
      timeMs: start + second * 1000,
      from: 'demo',
      message,
      severe: true,
    });
  }
  const lines = rendered(state, 80, 24);
  assert.deepEqual(
    lines.filter((line) => line.includes('  demo   ')),
    [7, 8, 9].map(
      (second) => `   03:04:${String(5 + second).padStart(2, '0')}  demo   event ${second}`,
    ),
  );
});

test('bar is drawn in eighths of a column, sparkline from zero to the largest value', () => {
  assert.equal(bar(0, 10), '');
  assert.equal(bar(0.5, 10), '█████');
  assert.equal(bar(1 / 80, 10), '▏');
  assert.equal(bar(1, 10), '█'.repeat(10));
  assert.equal(sparkline([0, 35, 70]), '▁▄▇');
  assert.equal(sparkline([0, 0]), '▁▁');
});

test('fit and spread truncate lines to a width', () => {
  assert.equal(plainText(fit([{ text: 'abc' }, { text: 'def' }], 5)), 'abcd…');
  assert.equal(plainText(fit([{ text: 'abc' }], 3)), 'abc');
  assert.equal(plainText(spread([{ text: 'left' }], [{ text: 'right' }], 12)), 'left   right');
  assert.equal(plainText(spread([{ text: 'left' }], [{ text: 'right' }], 9)), 'l…  right');
});

test('terminalText adds colours only if asked to', () => {
  const line = [{ text: 'a' }, { text: 'b', tone: 'good' }] as const;
  assert.equal(terminalText(line, true), 'a\x1b[32mb\x1b[39m');
  assert.equal(terminalText(line, false), 'ab');
});
