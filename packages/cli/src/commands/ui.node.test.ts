import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { forwardArguments, pageAddress } from './ui.ts';

const main = fileURLToPath(new URL('../main.ts', import.meta.url));
const run = promisify(execFile);

describe('heddle ui', () => {
  let server: Server;
  let address: string;
  let folder: string;
  const asked: (string | undefined)[] = [];
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'heddle-ui-'));
    server = createServer(({ url }, response) => {
      asked.push(url);
      response.writeHead(url?.endsWith('api/hello') ? 200 : 404).end('{}');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  });
  after(() => {
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('prints the address of a server that answers', async () => {
    const args = [main, 'ui', '--server', `${address}below`, '--no-browser'];
    const { stdout } = await run(process.execPath, args);
    assert.equal(stdout, `${address}below/\n`);
    assert.ok(asked.includes('/below/api/hello'));
  });

  it('fails with the address of a server that does not answer', async () => {
    const closed = createServer().listen(0, '127.0.0.1');
    await once(closed, 'listening');
    const { port } = closed.address() as AddressInfo;
    closed.close();
    await once(closed, 'close');
    const args = [main, 'ui', '--server', `127.0.0.1:${port}`, '--no-browser'];
    await assert.rejects(run(process.execPath, args), {
      code: 4,
      stderr: new RegExp(
        `^heddle: open the page: http://127.0.0.1:${port}/ does not answer: .*REFUSED`,
      ),
    });
  });

  it('waits for the port that kubectl forwards, and ends kubectl with itself', async () => {
    // The port is that of the server above, so kubectl itself has nothing to forward.
    const kubectl = '#!/bin/sh\necho "$@" > "$0.args"\nexec sleep 600\n';
    writeFileSync(join(folder, 'kubectl'), kubectl, { mode: 0o755 });
    const { port } = new URL(address);
    const env = { ...process.env, PATH: `${folder}:${process.env.PATH}` };
    const args = [main, 'ui', '--port', port, '--no-browser', '--context', 'berlin'];
    const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      const [printed] = await once(child.stdout, 'data');
      assert.equal(String(printed), `${address}\n`);
    } finally {
      child.kill('SIGINT');
    }
    await once(child, 'close');
  });

  it('reports why kubectl ended, or that it is missing', async () => {
    writeFileSync(join(folder, 'kubectl'), '#!/bin/sh\necho "no such service" >&2\nexit 1\n', {
      mode: 0o755,
    });
    const args = [main, 'ui', '--port', '1', '--no-browser'];
    const env = { PATH: folder };
    await assert.rejects(run(process.execPath, args, { env }), {
      code: 4,
      stderr: /no such service/,
    });
    rmSync(join(folder, 'kubectl'));
    await assert.rejects(run(process.execPath, args, { env }), {
      code: 1,
      stderr: /kubectl is not installed; install it, or give the address of the page with --server/,
    });
  });

  it('builds the arguments of kubectl without a shell', () => {
    const options = { namespace: 'a b', service: 'heddle-ui', servicePort: 80, port: 8080 };
    assert.deepEqual(forwardArguments({ ...options, browser: false, kubeconfig: '/k' }), [
      ...['--kubeconfig', '/k', '--namespace', 'a b', 'port-forward', '--address', '127.0.0.1'],
      ...['service/heddle-ui', '8080:80'],
    ]);
  });

  it('takes an address without a scheme, and refuses other schemes', () => {
    assert.equal(String(pageAddress('relay:8080')), 'http://relay:8080/');
    assert.equal(String(pageAddress('https://relay/below')), 'https://relay/below/');
    assert.throws(() => pageAddress('file:///etc'), /no address http:\/\/HOST:PORT/);
  });
});
