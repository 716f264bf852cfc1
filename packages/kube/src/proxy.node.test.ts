import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as httpServer } from 'node:http';
import { createServer as httpsServer } from 'node:https';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { CertificateAuthority } from '@heddle/sys/testing/certificates';
import {
  accessTo,
  authority,
  clientOf,
  hosts,
  served,
  start,
  startHttps,
} from '../testing/https-server.ts';
import { ask } from '../testing/responses.ts';
import type { ClusterAccess } from './access.ts';
import { ConnectionError } from './errors.ts';
import { parseProxy } from './proxy.ts';
import type { Server as ApiServer } from './server.ts';

/** Returns a proxy with a scripted response, which tunnels after a 200. */
async function startProxy(
  t: TestContext,
  answer: (authorization: string | undefined) => string,
  secure?: typeof served,
) {
  const targets: string[] = [];
  const tunnel = (
    request: { url?: string; headers: { [name: string]: unknown } },
    socket: Socket,
  ) => {
    targets.push(request.url!);
    const reply = answer(request.headers['proxy-authorization'] as string | undefined);
    if (!reply.startsWith('HTTP/1.1 200')) {
      socket.end(reply);
      return;
    }
    const url = new URL(`http://${request.url}`);
    const onward = connect(Number(url.port), url.hostname.replace(/[[\]]/g, ''), () => {
      socket.write(reply);
      onward.pipe(socket).pipe(onward);
    });
    onward.on('error', () => socket.destroy());
    socket.on('error', () => onward.destroy());
    socket.on('close', () => onward.destroy());
  };
  const server = secure ? httpsServer(secure) : httpServer();
  server.on('connect', (request, socket) => tunnel(request, socket as Socket));
  return { server: await start(t, server), targets };
}

function proxyAccess(server: ApiServer, url: string): ClusterAccess {
  const proxy = parseProxy(url);
  assert.ok(typeof proxy !== 'string');
  return accessTo(server, { proxyFor: () => proxy });
}

test('a connection through a proxy is a tunnel, with credentials if they are set', async (t) => {
  const { server } = await startHttps(t, (_request, response) => response.end('through'));
  const ok = 'HTTP/1.1 200 Connection established\r\n\r\n';
  const proxy = await startProxy(t, (authorization) =>
    authorization === `Basic ${btoa('me:p@ss')}`
      ? ok
      : 'HTTP/1.1 407 Proxy Authentication Required\r\n\r\n',
  );
  const { port } = proxy.server;
  const client = clientOf(t, proxyAccess(server, `http://me:p%40ss@127.0.0.1:${port}`));
  assert.equal((await ask(client, '/')).text, 'through');
  assert.deepEqual(proxy.targets, [`127.0.0.1:${server.port}`]);

  const { error } = await ask(clientOf(t, proxyAccess(server, `http://127.0.0.1:${port}`)), '/');
  assert.ok(error instanceof ConnectionError);
  assert.match(
    error.message,
    /^reach https:\/\/127\.0\.0\.1:\d+ through the proxy http:\/\/127\.0\.0\.1:\d+: it refused to connect to 127\.0\.0\.1:\d+ with status 407 \(give user and password/,
  );
  const none = await ask(clientOf(t, proxyAccess(server, 'http://127.0.0.1:1')), '/');
  assert.match(
    none.error!.message,
    /through the proxy http:\/\/127\.0\.0\.1:1: connection refused/,
  );
});

test('a proxy that sends bytes after its response is refused', async (t) => {
  const { server } = await startHttps(t, () => assert.fail('asked'));
  const proxy = await startProxy(t, () => 'HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n');
  const client = clientOf(t, proxyAccess(server, `http://127.0.0.1:${proxy.server.port}`));
  assert.match((await ask(client, '/')).error!.message, /it sent more than it was asked for/);
});

test('a server with an IPv6 address is reached through a proxy', async (t) => {
  const { server } = await startHttps(t, (_request, response) => response.end('six'), {}, '::1');
  const proxy = await startProxy(t, () => 'HTTP/1.1 200 OK\r\n\r\n');
  const client = clientOf(t, proxyAccess(server, `http://127.0.0.1:${proxy.server.port}`));
  assert.equal((await ask(client, '/')).text, 'six');
  assert.deepEqual(proxy.targets, [`[::1]:${server.port}`]);
});

test('a proxy with TLS needs a certificate of a trusted CA', async (t) => {
  const { server } = await startHttps(t, (_request, response) => response.end('twice secure'));
  const accept = () => 'HTTP/1.1 200 OK\r\n\r\n';
  const machine = new CertificateAuthority('machine');
  const proxy = await startProxy(t, accept, served);
  const second = await startProxy(t, accept, machine.issue({ name: 'proxy', hosts }));
  const access = proxyAccess(server, `https://127.0.0.1:${proxy.server.port}`);
  const { error } = await ask(clientOf(t, access), '/');
  assert.match(error!.message, /not issued by a trusted authority.*the proxy: does its/);
  assert.deepEqual(proxy.targets, []);

  const folder = mkdtempSync(`${tmpdir()}/heddle-kube-`);
  t.after(() => rmSync(folder, { recursive: true }));
  const cluster = {
    server: `https://127.0.0.1:${server.port}`,
    'certificate-authority-data': Buffer.from(authority.cert).toString('base64'),
    'proxy-url': `https://127.0.0.1:${second.server.port}`,
  };
  const kubeconfig = {
    'current-context': 'x',
    contexts: [{ name: 'x', context: { cluster: 'c' } }],
    clusters: [{ name: 'c', cluster }],
  };
  writeFileSync(`${folder}/config`, JSON.stringify(kubeconfig));
  writeFileSync(`${folder}/machine.pem`, machine.cert);
  const script = `
    import { ApiClient, readKubeconfig } from '@heddle/kube';
    import { ask } from '@heddle/kube/testing/responses';
    import { nodePlatform } from '@heddle/sys/node';
    const platform = nodePlatform();
    using client = new ApiClient(platform, readKubeconfig(platform, process.env));
    const { text, error } = await ask(client, '/');
    console.log(error?.message ?? text);
  `;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '--eval', script],
    {
      cwd: import.meta.dirname,
      env: { SSL_CERT_FILE: `${folder}/machine.pem`, KUBECONFIG: `${folder}/config` },
    },
  );
  assert.equal(stdout, 'twice secure\n');
  assert.deepEqual(second.targets, [`127.0.0.1:${server.port}`]);
});
