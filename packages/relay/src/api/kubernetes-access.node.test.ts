import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { CertificateAuthority } from '@heddle/sys/testing/certificates';
import { inClusterServer, KubernetesAccess } from './kubernetes-access.ts';
import { ApiProblem } from './view.ts';

interface Review {
  readonly kind: string;
  readonly spec: {
    readonly token?: string;
    readonly user?: string;
    readonly groups?: readonly string[];
    readonly resourceAttributes?: {
      readonly verb: string;
      readonly resource: string;
      readonly namespace: string;
    };
  };
}

/** Serves an API server that knows two users, and returns what it was asked. */
async function serveReviews(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-access-'));
  const authority = new CertificateAuthority();
  const { cert, key } = authority.issue({ name: 'api', hosts: ['localhost'] });
  const [tokenFile, authorityFile] = [join(folder, 'token'), join(folder, 'ca.crt')];
  writeFileSync(tokenFile, 'relay-token\n');
  writeFileSync(authorityFile, authority.cert);
  const asked: Review[] = [];
  const state = { isDown: false };
  const server = createServer({ cert, key }, (request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      const review = JSON.parse(body) as Review;
      asked.push(review);
      const isKnown = request.headers.authorization === 'Bearer relay-token';
      response.statusCode = state.isDown ? 500 : isKnown ? 201 : 403;
      response.end(JSON.stringify({ status: answer(review) }));
    });
  });
  const answer = ({ kind, spec }: Review) => {
    if (kind === 'TokenReview') {
      const user = { 'alice-token': 'alice', 'admin-token': 'admin' }[spec.token!];
      return user ? { authenticated: true, user: { username: user, groups: ['team'] } } : {};
    }
    const { verb, resource, namespace } = spec.resourceAttributes!;
    const isOwn = namespace === 'shop' && spec.groups?.includes('team');
    return { allowed: verb === 'get' && resource === 'pods' && (spec.user === 'admin' || isOwn) };
  };
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
    rmSync(folder, { recursive: true });
  });
  const url = `https://localhost:${(server.address() as AddressInfo).port}`;
  const access = new KubernetesAccess({ url, tokenFile, authorityFile }, () => ['shop', 'bank']);
  return { access, asked, state };
}

function problem(status: number) {
  return (error: unknown) => error instanceof ApiProblem && error.status === status;
}

test('a reader sees the namespaces whose pods it may get, and is asked about once a minute', async (t) => {
  const { access, asked } = await serveReviews(t);
  const alice = await access.admit('alice-token');
  assert.deepEqual(alice.namespaces, ['shop']);
  assert.deepEqual(
    [alice.canSee('shop'), alice.canSee('bank'), alice.canSee('new')],
    [true, false, false],
  );
  const count = asked.length;
  await access.admit('alice-token');
  assert.equal(asked.length, count);
  const admin = await access.admit('admin-token');
  assert.deepEqual([admin.canSee('bank'), admin.namespaces], [true, undefined]);
});

test('without a token, with a false one and without an API server nothing is shown', async (t) => {
  const { access, state, asked } = await serveReviews(t);
  await assert.rejects(access.admit(undefined), problem(401));
  await assert.rejects(access.admit('false-token'), problem(401));
  state.isDown = true;
  await assert.rejects(access.admit('alice-token'), problem(503));
  state.isDown = false;
  assert.deepEqual((await access.admit('alice-token')).namespaces, ['shop']);
  const count = asked.length;
  await assert.rejects(access.admit('false-token'), problem(401));
  assert.equal(asked.length, count);
});

test('false tokens push out no reader, and few are asked about at once', async (t) => {
  const { access, asked } = await serveReviews(t);
  await access.admit('alice-token');
  for (let i = 0; i < 600; i += 8) {
    const some = Array.from({ length: 8 }, (_, n) => access.admit(`false-${i + n}`));
    for (const each of some) await assert.rejects(each, problem(401));
  }
  const before = asked.length;
  await access.admit('alice-token');
  await assert.rejects(access.admit('false-599'), problem(401));
  assert.equal(asked.length, before, 'both answers are kept');
  const many = Array.from({ length: 20 }, (_, n) => access.admit(`other-${n}`));
  const results = await Promise.allSettled(many);
  const statuses = results.map((each) => (each as PromiseRejectedResult).reason.status);
  assert.deepEqual([statuses.filter((each) => each === 401).length, statuses.length], [8, 20]);
  assert.equal(asked.length, before + 8);
});

test('the API server is found in pods only', () => {
  assert.throws(
    () => inClusterServer({}),
    /^Error: find API server: .*--ui-auth kubernetes works in pods only/,
  );
  const environment = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' };
  assert.equal(inClusterServer(environment).url, 'https://[fd00::1]:443');
});
