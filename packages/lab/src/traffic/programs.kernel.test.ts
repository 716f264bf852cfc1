import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { platform, uniqueName } from '../../testing/kernel.ts';
import { createLab, type Lab } from '../lab.ts';
import { BlockingSocket } from './blocking-socket.ts';
import { startBackend, startHttpClient } from './programs.ts';
import type { ClientReport } from './report.ts';

let lab: Lab;

before(async () => {
  lab = createLab(platform, { name: uniqueName('traffic'), podsPerNode: 3 });
  const [, one, two] = lab.pods;
  await Promise.all([
    startBackend(one!, { http: [80, 81], tcp: [82], udp: [83] }),
    startBackend(two!, { http: [80], name: 'other' }),
  ]);
});

after(() => lab[Symbol.dispose]());

function exchange(protocol: 'tcp' | 'udp', address: string, port: number, text: string): string {
  const family = address.includes(':') ? 6 : 4;
  using socket = lab.pods[0]!.enter(() => BlockingSocket.open(platform, { protocol, family }));
  socket.connect({ address, port });
  socket.send(text);
  return new TextDecoder().decode(socket.receive());
}

test('a backend sends its name over HTTP, TCP and UDP, IPv4 and IPv6', () => {
  const { v4, v6 } = lab.pods[1]!.addresses;
  for (const address of [v4, v6]) {
    const answer = exchange('tcp', address, 81, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
    assert.ok(answer.endsWith('\r\n\r\n{"pod":"pod-1-2","port":81}'), answer);
    const client = lab.pods[0]!.addresses[address === v4 ? 'v4' : 'v6'];
    const seen = exchange('tcp', address, 80, 'GET /client HTTP/1.1\r\n\r\n');
    assert.ok(seen.includes(`"client":"${address === v4 ? client : `[${client}]`}:`), seen);
    assert.equal(exchange('tcp', address, 82, 'hello'), 'pod-1-2 hello');
    assert.equal(exchange('udp', address, 83, 'hello'), 'pod-1-2 hello');
  }
  assert.match(exchange('tcp', v4, 80, 'GET /nothing HTTP/1.1\r\n\r\n'), /^HTTP\/1\.1 404 /);
});

test('a backend answers several requests on a connection, in pieces or at once', () => {
  using socket = lab.pods[0]!.enter(() =>
    BlockingSocket.open(platform, { protocol: 'tcp', family: 4 }),
  );
  socket.connect({ address: lab.pods[1]!.addresses.v4, port: 80 });
  const request = 'GET /name HTTP/1.1\r\nHost: x\r\n\r\n';
  const answers = (count: number) => {
    let text = '';
    while (text.split('pod-1-2').length <= count)
      text += new TextDecoder().decode(socket.receive());
    return text.split('HTTP/1.1 200').length - 1;
  };
  socket.send(request + request);
  assert.equal(answers(2), 2);
  socket.send(request.slice(0, 20));
  socket.send(request.slice(20));
  assert.equal(answers(1), 1);
  socket.send('GET /name HTTP/1.1\r\nConnection: close\r\n\r\n');
  assert.equal(answers(1), 1);
  assert.equal(socket.receive().length, 0, 'the server closes when asked to');
});

test('the client counts requests, answers and failures of each target', async () => {
  const [, one, two] = lab.pods;
  const reports: ClientReport[] = [];
  const client = startHttpClient(lab.pods[0]!, {
    targets: {
      both: [`${one!.addresses.v4}:80`, `[${two!.addresses.v6}]:80`],
      closed: [`${one!.addresses.v4}:99`],
    },
    requests: 100,
    reportMs: 20,
    onReport: (report) => reports.push(report),
  });
  const { targets, type } = await client.total;
  assert.equal(type, 'total');
  // Addresses are chosen at random: 100 choices are beyond these limits once in a million runs.
  const { 'pod-1-2': first = 0, other: second = 0 } = targets.both!.answers;
  assert.equal(first + second, 100);
  assert.ok(first >= 25 && first <= 75, `${first} of 100`);
  assert.equal(targets.both!.failed, 0);
  assert.ok(targets.both!.p50Us! > 1 && targets.both!.p99Us! >= targets.both!.p50Us!);
  const { closed } = targets;
  assert.deepEqual([closed!.requests, closed!.failures], [100, { ECONNREFUSED: 100 }]);
  assert.equal(closed!.p50Us, null);
  const inWindows = reports
    .filter((report) => report.type === 'window')
    .reduce((sum, report) => sum + report.targets.both!.requests, 0);
  assert.equal(inWindows, 100);
});

test('a request to a server that never closes ends with its timeout', async () => {
  const address = `${lab.pods[1]!.addresses.v4}:82`;
  const targets = { silent: [address] };
  const client = startHttpClient(lab.pods[0]!, { targets, requests: 2, timeoutMs: 50 });
  assert.deepEqual((await client.total).targets.silent!.failures, { ETIMEDOUT: 2 });
});

test('a client without a number of requests follows commands until stop', async () => {
  const [, one, two] = lab.pods;
  const address = (pod: typeof one) => [`${pod!.addresses.v4}:80`];
  let moved = false;
  const client = startHttpClient(lab.pods[0]!, {
    targets: { service: address(one) },
    rate: 500,
    reportMs: 50,
    onReport(report) {
      const answers = report.targets.service!.answers;
      if (answers['pod-1-2']) client.setTarget('service', address(two));
      if (answers.other && !moved) {
        moved = true;
        void client.stop();
      }
    },
  });
  const total = await client.total;
  assert.ok(moved);
  const { requests, failed } = total.targets.service!;
  assert.equal(failed, 0);
  assert.ok(requests <= total.seconds * 500 + 1, `${requests} in ${total.seconds} s`);
});

test('a backend without its port and a killed client are errors', async () => {
  await assert.rejects(startBackend(lab.nodes[0]!, { http: [99999] }), /start backend in node1/);
  const client = startHttpClient(lab.pods[0]!, { targets: {} });
  await once(client.process, 'spawn');
  client.process.kill('SIGKILL');
  await assert.rejects(client.total, /ended by SIGKILL/);
});
