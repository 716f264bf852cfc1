import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { get } from 'node:http';
import { createServer, type Server } from 'node:net';
import { afterEach, describe, it } from 'node:test';
import type { ServiceRow } from '@heddle/services';
import { nodePlatform } from '@heddle/sys/node';
import { HealthChecks } from './health-checks.ts';

const said: string[] = [];
let isHealthy = true;
let checks: HealthChecks;
let blocker: Server | undefined;

function open(most?: number): HealthChecks {
  said.length = 0;
  isHealthy = true;
  checks = new HealthChecks({
    platform: nodePlatform(() => {}),
    events: {
      add: (level, _kind, subject, message) => said.push(`${level} ${subject}: ${message}`),
    },
    isHealthy: () => isHealthy,
    ...(most === undefined ? {} : { most }),
  });
  return checks;
}

function row(name: string, port?: number, localEndpoints = 1): ServiceRow {
  return {
    ...{ key: `default/${name}:80/TCP/IPv4`, scope: 'everybody', silent: false },
    ...{ namespace: 'default', name, portName: '80', protocol: 'TCP', family: 'IPv4' },
    ...{ frontends: [], backends: [], sourceRanges: [], problems: [] },
    ...{ algorithm: 'random', forwarding: 'snat', affinitySeconds: 0 },
    ...(port === undefined ? {} : { healthCheck: { port, localEndpoints } }),
  };
}

/** Returns the answer at a port, or the code of the error. */
function ask(port: number, { path = '/', host = '127.0.0.1', method = 'GET' } = {}) {
  return new Promise<{ status: number; weight: unknown; type: unknown; body: string } | string>(
    (resolve) => {
      const request = get({ host, port, path, method, agent: false }, (response) => {
        const { statusCode, headers } = response;
        let body = '';
        response.on('data', (data) => {
          body += data;
        });
        response.on('end', () =>
          resolve({
            status: statusCode!,
            weight: headers['x-load-balancing-endpoint-weight'],
            type: headers['content-type'],
            body,
          }),
        );
      });
      request.on('error', (error: NodeJS.ErrnoException) => resolve(error.code!));
    },
  );
}

/** Ports that were free a moment ago. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '::'));
  await Promise.all(servers.map((server) => new Promise((done) => server.once('listening', done))));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

/** Returns the service that answers at a port, with the number of its endpoints; or the error's code. */
async function answered(port: number): Promise<string> {
  const answer = await ask(port);
  if (typeof answer === 'string') return answer;
  const { service, localEndpoints } = JSON.parse(answer.body);
  return `${service.namespace}/${service.name} ${localEndpoints}`;
}

describe('health checks', { timeout: 30_000 }, () => {
  afterEach(() => {
    checks[Symbol.dispose]();
    blocker?.close();
    blocker = undefined;
  });

  it('answer 200 with ready endpoints on the node and 503 without, with their number', async () => {
    const [port] = (await freePorts(1)) as [number];
    open().set(row('web', port, 2));
    const good = {
      ...{ status: 200, weight: '2', type: 'application/json' },
      body: '{"service":{"namespace":"default","name":"web"},"localEndpoints":2,"serviceProxyHealthy":true}\n',
    };
    assert.deepEqual(await ask(port), good);
    assert.deepEqual(await ask(port, { path: '/healthz?x=1', host: '::1' }), good);
    assert.deepEqual(await ask(port, { method: 'HEAD' }), { ...good, body: '' });
    checks.set(row('web', port, 0));
    assert.deepEqual(await ask(port), {
      ...{ status: 503, weight: '0', type: 'application/json' },
      body: '{"service":{"namespace":"default","name":"web"},"localEndpoints":0,"serviceProxyHealthy":true}\n',
    });
    assert.deepEqual(said, []);
  });

  it('answer 503 while changes are not programmed in time', async () => {
    const [port] = (await freePorts(1)) as [number];
    open().set(row('web', port, 1));
    isHealthy = false;
    assert.deepEqual(await ask(port), {
      ...{ status: 503, weight: '1', type: 'application/json' },
      body: '{"service":{"namespace":"default","name":"web"},"localEndpoints":1,"serviceProxyHealthy":false}\n',
    });
    isHealthy = true;
    assert.equal(((await ask(port)) as { status: number }).status, 200);
  });

  it('start, move and end with their rows, and leak nothing', async () => {
    const [a, b] = (await freePorts(2)) as [number, number];
    const before = readdirSync('/proc/self/fd').length;
    open().set(row('web'));
    assert.deepEqual(checks.counts, { listening: 0, failed: 0 });
    checks.set(row('web', a));
    checks.set(row('api', b, 3));
    assert.deepEqual([await answered(a), await answered(b)], ['default/web 1', 'default/api 3']);
    assert.deepEqual(checks.counts, { listening: 2, failed: 0 });
    checks.delete(row('api').key);
    assert.equal(await answered(b), 'ECONNREFUSED');
    checks.set(row('web', b));
    assert.deepEqual([await answered(a), await answered(b)], ['ECONNREFUSED', 'default/web 1']);
    checks.set(row('web'));
    assert.equal(await answered(b), 'ECONNREFUSED');
    checks.delete(row('web').key);
    checks.delete('default/unknown:80/TCP/IPv4');
    // The clients of this test have closed their ends by the next turns of the event loop.
    while (readdirSync('/proc/self/fd').length > before)
      await new Promise((next) => setImmediate(next));
  });

  it('move a port to a new row before the old one is removed', async () => {
    const [port] = (await freePorts(1)) as [number];
    open().set(row('web', port, 1));
    checks.set(row('api', port, 2));
    assert.equal(checks.entry(row('web').key), undefined);
    checks.delete(row('web').key);
    assert.equal(await answered(port), 'default/api 2');
    // The same service under another row, as when its first port is renamed.
    const renamed = { ...row('api', port, 4), key: 'default/api:http/TCP/IPv4' };
    checks.set(renamed);
    checks.delete(row('api').key);
    assert.equal(await answered(port), 'default/api 4');
    assert.deepEqual(checks.entry(renamed.key), { port, localEndpoints: 4, listening: true });
  });

  it('wait for a port that is taken, and report it', async () => {
    blocker = createServer().listen(0, '::');
    await new Promise((done) => blocker!.once('listening', done));
    const { port } = blocker.address() as { port: number };
    open().set(row('web', port, 2));
    assert.deepEqual(checks.counts, { listening: 0, failed: 1 });
    const { problem, ...entry } = checks.entry(row('web').key)!;
    assert.deepEqual(entry, { port, localEndpoints: 2, listening: false });
    assert.match(
      problem!,
      /^health check of default\/web is not served: listen on :\d+: .*EADDRINUSE/,
    );
    assert.deepEqual(said, [`warn ${row('web').key}: ${problem}`]);
    await new Promise((done) => blocker!.close(done));
    while (checks.counts.failed > 0) await new Promise((next) => setTimeout(next, 10));
    assert.equal(await answered(port), 'default/web 2');
    assert.deepEqual(said.slice(1), [
      `info ${row('web').key}: health check of default/web is served on port ${port} now`,
    ]);
  });

  it('stop to wait for a port when their row is removed', async () => {
    blocker = createServer().listen(0, '::');
    await new Promise((done) => blocker!.once('listening', done));
    const { port } = blocker.address() as { port: number };
    open().set(row('web', port));
    checks.delete(row('web').key);
    assert.deepEqual(checks.counts, { listening: 0, failed: 0 });
    await new Promise((done) => blocker!.close(done));
    checks.set(row('api', port));
    assert.equal(await answered(port), 'default/api 1');
  });

  it('are bounded; a row beyond the bound is served once there is room', async () => {
    const [a, b, c] = (await freePorts(3)) as [number, number, number];
    open(1).set(row('web', a));
    checks.set(row('api', b));
    checks.set(row('api', b, 5));
    checks.set(row('shop', c));
    assert.deepEqual(
      said.map((text) => text.split(': ').slice(1).join(': ')),
      [
        'health check of default/api is not served: the agent serves no more ports',
        'health check of default/shop is not served: the agent serves no more ports',
      ],
    );
    assert.deepEqual(checks.counts, { listening: 1, failed: 2 });
    assert.match(checks.entry(row('api').key)?.problem ?? '', /no more ports/);
    checks.delete(row('shop').key);
    checks.set(row('web'));
    assert.deepEqual([await answered(b), await answered(a)], ['default/api 5', 'ECONNREFUSED']);
    assert.deepEqual(checks.counts, { listening: 1, failed: 0 });
  });
});
