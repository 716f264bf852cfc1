// A load generator that makes new connections (connect, request, close), one at a time, to its
// targets in turn, so that a disturbance affects all of them alike. Arguments:
//   --target NAME=ADDRESS:PORT[,ADDRESS:PORT...]   any number; a target's addresses are used in turn
//   --requests N     ends after N requests to each target; otherwise at `stop` on stdin, or its end
//   --rate N         at most N rounds (one request to each target) a second; default: no limit
//   --report-ms N    default 1000
//   --timeout-ms N   default 2000; a slower request fails with ETIMEDOUT
// stdin, a line each: `stop`, or `target NAME=ADDRESS:PORT[,...]`, which replaces the addresses of NAME.
// stdout, a line each: `started` after one request to each target, then ClientReport (report.ts) as JSON.

import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { decodeUtf8, encodeUtf8, SysError } from '@heddle/sys';
import { formatSocketAddress, readSocketAddress, type SocketAddress } from '@heddle/sys/net';
import { nodePlatform } from '@heddle/sys/node';
import { BlockingSocket } from './blocking-socket.ts';
import { type ClientReport, Tally } from './report.ts';

const { values } = parseArgs({
  options: {
    target: { type: 'string', multiple: true, default: [] },
    requests: { type: 'string' },
    rate: { type: 'string', default: '0' },
    'report-ms': { type: 'string', default: '1000' },
    'timeout-ms': { type: 'string', default: '2000' },
  },
});
const platform = nodePlatform();
const requests = values.requests === undefined ? Number.POSITIVE_INFINITY : Number(values.requests);
const roundNs = Number(values.rate) > 0 ? 1e9 / Number(values.rate) : 0;
const reportNs = Number(values['report-ms']) * 1e6;
const timeoutMs = Number(values['timeout-ms']);

/** Addresses of the targets, and their results since the last report and in total. */
const targets = new Map<string, { endpoints: SocketAddress[]; window: Tally; total: Tally }>();
for (const text of values.target) setTarget(text);

let stopped = false;
// A run with a number of requests ends by itself and needs no stdin.
if (values.requests === undefined) {
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    if (line === 'stop') stopped = true;
    else if (line.startsWith('target ')) setTarget(line.slice('target '.length));
    else process.stderr.write(`read command ${line}: neither stop nor target\n`);
  });
  lines.on('close', () => {
    stopped = true;
  });
}

const start = now();
let windowStart = start;
for (let round = 0; round < requests && !stopped; round++) {
  const names = [...targets.keys()];
  // The first target changes each time, because the first request after a pause takes longer.
  for (let i = 0; i < names.length; i++) {
    const { endpoints, window } = targets.get(names[(round + i) % names.length]!)!;
    // At random, as services choose. In turn, it would always be the backend that has been idle longest.
    const endpoint = endpoints[Math.floor(Math.random() * endpoints.length)];
    if (endpoint) measure(endpoint, window);
  }
  if (round === 0) process.stdout.write('started\n');
  if (now() - windowStart >= reportNs) report('window');
  // 17 has no common factor with a small number of targets, so that each of them is the first one
  // after a pause in turn.
  if (roundNs > 0 || round % 17 === 0) await pause(start + (round + 1) * roundNs);
}
report('window');
report('total');
process.exit();

function setTarget(text: string): void {
  const [name, list] = text.split('=', 2);
  const endpoints = (list ?? '').split(',').filter(Boolean).map(readSocketAddress);
  const target = targets.get(name!);
  if (target) target.endpoints = endpoints;
  else targets.set(name!, { endpoints, window: new Tally(), total: new Tally() });
}

function measure(to: SocketAddress, tally: Tally): void {
  const request = `GET /name HTTP/1.1\r\nHost: ${formatSocketAddress(to)}\r\nConnection: close\r\n\r\n`;
  const before = now();
  try {
    const answer = fetchOnce(to, encodeUtf8(request));
    const took = now() - before;
    const pod = /^HTTP\/1\.1 200 .*\r\n\r\n(.+)$/s.exec(answer)?.[1];
    if (pod === undefined) tally.failed('bad answer');
    else tally.answered(pod, took);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    tally.failed(error.code);
  }
}

/** Makes one request. Because of `Connection: close` the server closes first and has the TIME_WAIT. */
function fetchOnce(to: SocketAddress, request: Uint8Array): string {
  using socket = BlockingSocket.open(platform, {
    protocol: 'tcp',
    family: to.address.includes(':') ? 6 : 4,
    timeoutMs,
  });
  socket.connect(to);
  socket.send(request);
  let answer = '';
  for (;;) {
    const bytes = socket.receive(4096);
    if (bytes.length === 0) return answer;
    answer += decodeUtf8(bytes);
  }
}

function report(type: ClientReport['type']): void {
  const time = now();
  const reports: Record<string, ReturnType<Tally['report']>> = {};
  for (const [name, { window, total }] of targets) {
    reports[name] = (type === 'window' ? window : total).report();
    if (type === 'total') continue;
    total.merge(window);
    window.clear();
  }
  const seconds = (time - (type === 'window' ? windowStart : start)) / 1e9;
  const line: ClientReport = { type, seconds, targets: reports };
  process.stdout.write(`${JSON.stringify(line)}\n`);
  if (type === 'window') windowStart = time;
}

function now(): number {
  return Number(platform.monotonicNs());
}

/** Waits until the next round is due; stdin is read meanwhile. */
function pause(until: number): Promise<void> {
  const milliseconds = (until - now()) / 1e6;
  return new Promise((resolve) => {
    if (milliseconds < 0.5) setImmediate(resolve);
    else setTimeout(resolve, milliseconds);
  });
}
