import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { makeCertificates, serverName, writeTlsFiles } from '../../testing/certificates.ts';
import { unixTransport } from '../../testing/transport.ts';
import {
  Health,
  HealthCheckResponse_ServingStatus,
} from '../generated/grpc/health/v1/health_pb.js';
import { ServerReflection } from '../generated/grpc/reflection/v1/reflection_pb.js';
import { ServerReflection as V1Alpha } from '../generated/grpc/reflection/v1alpha/reflection_pb.js';
import { Observer } from '../generated/observer/observer_pb.js';
import { HealthState, observerHealthName } from './health.ts';
import { RpcServer, type ServerOptions } from './server.ts';

const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'heddle-hubble-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

function server(t: TestContext, options: Partial<ServerOptions> = {}): RpcServer {
  const started = new RpcServer({
    services: [Observer],
    routes: (router) =>
      router.service(Observer, { serverStatus: () => ({ version: 'v1', maxFlows: 7n }) }),
    health: new HealthState([observerHealthName]),
    headers: { 'hubble-server-version': '1.0.0' },
    ...options,
  });
  t.after(() => started.close());
  return started;
}

function code(expected: Code, message?: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof ConnectError, String(error));
    assert.equal(Code[error.code], Code[expected], error.message);
    if (message) assert.match(error.message, message);
    return true;
  };
}

function status(transport: Transport) {
  return createClient(Observer, transport).serverStatus({});
}

test('a gRPC client calls a server over a unix socket', async (t) => {
  const path = join(folder(t), 'hubble.sock');
  await server(t).listen({ unix: path });
  const transport = unixTransport(t, path);
  let version: string | null = null;
  const answer = await createClient(Observer, transport).serverStatus(
    {},
    {
      onHeader: (headers) => {
        version = headers.get('hubble-server-version');
      },
    },
  );
  assert.deepEqual([answer.version, answer.maxFlows, version], ['v1', 7n, '1.0.0']);
});

test('a method that a service lacks is unimplemented', async (t) => {
  const path = join(folder(t), 'hubble.sock');
  await server(t).listen({ unix: path });
  const client = createClient(Observer, unixTransport(t, path));
  await assert.rejects(client.getNodes({}), code(Code.Unimplemented));
});

test('the socket of a dead process is replaced, one in use is refused', async (t) => {
  const path = join(folder(t), 'hubble.sock');
  // A socket that is renamed before its server closes stays behind.
  const dead = createServer().listen(path);
  await new Promise((resolve) => dead.once('listening', resolve));
  renameSync(path, `${path}.old`);
  await new Promise((resolve) => dead.close(resolve));
  renameSync(`${path}.old`, path);
  await server(t).listen({ unix: path });
  await assert.rejects(server(t).listen({ unix: path }), /^Error: listen on unix:.*EADDRINUSE/);
  assert.equal((await status(unixTransport(t, path))).version, 'v1');
});

test('health is reported by name, and each change to those who watch', async (t) => {
  const path = join(folder(t), 'hubble.sock');
  const health = new HealthState([observerHealthName]);
  await server(t, { health }).listen({ unix: path });
  const client = createClient(Health, unixTransport(t, path));
  assert.equal((await client.check({})).status, SERVING);
  assert.equal((await client.check({ service: observerHealthName })).status, SERVING);
  await assert.rejects(client.check({ service: 'x' }), code(Code.NotFound, /no service "x"/));
  const states: number[] = [];
  for await (const { status } of client.watch({ service: observerHealthName })) {
    states.push(status);
    if (states.length === 3) break;
    health.set(status !== SERVING);
  }
  assert.deepEqual(states, [SERVING, NOT_SERVING, SERVING]);
  for await (const { status } of client.watch({ service: 'x' })) {
    assert.equal(status, SERVICE_UNKNOWN);
    break;
  }
});

for (const [version, service] of [
  ['v1', ServerReflection],
  ['v1alpha', V1Alpha],
] as const) {
  test(`reflection ${version} lists services and has their files`, async (t) => {
    const path = join(folder(t), 'hubble.sock');
    await server(t).listen({ unix: path });
    const client = createClient(service as typeof ServerReflection, unixTransport(t, path));
    async function* questions() {
      yield { messageRequest: { case: 'listServices' as const, value: '' } };
      for (const value of [
        'observer.Observer',
        'flow.Flow',
        'observer.Observer.GetFlows',
        'no.Name',
      ]) {
        yield { messageRequest: { case: 'fileContainingSymbol' as const, value } };
      }
      yield { messageRequest: { case: 'fileByFilename' as const, value: 'flow/flow.proto' } };
      yield {};
    }
    const answers = [];
    for await (const { messageResponse } of client.serverReflectionInfo(questions())) {
      switch (messageResponse.case) {
        case 'listServicesResponse':
          answers.push(messageResponse.value.service.map(({ name }) => name));
          break;
        case 'fileDescriptorResponse':
          answers.push(
            messageResponse.value.fileDescriptorProto.map(
              (bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name,
            ),
          );
          break;
        case 'errorResponse':
          answers.push(messageResponse.value.errorMessage);
      }
    }
    assert.deepEqual(answers[0], [
      ...['observer.Observer', 'grpc.health.v1.Health'],
      ...['grpc.reflection.v1.ServerReflection', 'grpc.reflection.v1alpha.ServerReflection'],
    ]);
    assert.ok(answers[1]!.includes('observer/observer.proto'), String(answers[1]));
    assert.ok(answers[1]!.includes('google/protobuf/timestamp.proto'), String(answers[1]));
    assert.equal(answers[2]![0], 'flow/flow.proto');
    assert.equal(answers[3]![0], 'observer/observer.proto');
    assert.equal(answers[4], 'there is no symbol no.Name');
    assert.equal(answers[5]![0], 'flow/flow.proto');
    assert.equal(answers[6], 'the request asks for nothing');
  });
}

function tlsTransport(port: number, nodeOptions: object): Transport {
  return createGrpcTransport({
    baseUrl: `https://127.0.0.1:${port}`,
    nodeOptions: { servername: serverName, ...nodeOptions },
  });
}

test('with TLS only clients that trust the server and have a certificate get an answer', async (t) => {
  const made = makeCertificates();
  const tls = writeTlsFiles(folder(t), made);
  const port = await server(t).listen({ host: '127.0.0.1', port: 0, tls });
  const call = (options: object) => status(tlsTransport(port, options));
  const { ca, client } = made;
  assert.equal((await call({ ca, ...client })).version, 'v1');
  await assert.rejects(call({ ca }), /certificate required/);
  await assert.rejects(call({ ...client }), /certificate/);
  await assert.rejects(call({ ca, ...makeCertificates().client }), ConnectError);
});

test('new connections get the certificate that has replaced an earlier one', async (t) => {
  const [old, renewed] = [makeCertificates(), makeCertificates()];
  const { certificate, key } = writeTlsFiles(folder(t), old);
  const problems: string[] = [];
  const port = await server(t, {
    reloadInterval: 5,
    onProblem: (problem) => problems.push(problem),
  }).listen({ host: '127.0.0.1', port: 0, tls: { certificate, key } });
  const call = (ca: string) => status(tlsTransport(port, { ca }));
  assert.equal((await call(old.ca)).version, 'v1');
  // The key of another certificate cannot be used; the server reports it and goes on.
  writeFileSync(key, renewed.server.key);
  while (!problems.some((problem) => /stay as they are/.test(problem))) await pause();
  assert.equal((await call(old.ca)).version, 'v1');
  // More looks at the same files do not report it again.
  for (let look = 0; look < 10; look++) await pause();
  assert.equal(problems.length, 1, problems.join('\n'));
  writeFileSync(certificate, renewed.server.cert);
  while ((await call(renewed.ca).catch(() => undefined)) === undefined) await pause();
  await assert.rejects(call(old.ca), /certificate/);
});

test('closing ends a stream that is read', async (t) => {
  const path = join(folder(t), 'hubble.sock');
  const started = server(t);
  await started.listen({ unix: path });
  const watch = createClient(Health, unixTransport(t, path)).watch({});
  const stream = watch[Symbol.asyncIterator]();
  assert.equal((await stream.next()).value?.status, SERVING);
  const next = stream.next();
  await started.close();
  await next.then(({ done }) => assert.equal(done, true), code(Code.Unavailable));
});

test('files of TLS that are missing are named', async (t) => {
  const path = folder(t);
  const tls = { certificate: join(path, 'none.crt'), key: join(path, 'none.key') };
  await assert.rejects(
    server(t).listen({ host: '127.0.0.1', port: 0, tls }),
    /^Error: read TLS certificate .*none\.crt: ENOENT/,
  );
});

test('files of TLS that cannot be used are named, with what belongs into them', async (t) => {
  const [made, other] = [makeCertificates(), makeCertificates()];
  const wrong = [
    [
      'certificate',
      'no PEM',
      /^Error: use TLS certificate \/.*tls\.crt: .*; it must have a certificate in PEM$/,
    ],
    [
      'certificate',
      made.server.key,
      /^Error: use TLS certificate \/.*tls\.crt: .*certificate in PEM$/,
    ],
    [
      'key',
      '',
      /^Error: use TLS key \/.*tls\.key: .*; it must have a private key without a passphrase in PEM$/,
    ],
    [
      'key',
      other.server.key,
      /^Error: use TLS key \/.*tls\.key: it is not the key of the certificate \/.*tls\.crt; /,
    ],
    [
      'clientAuthority',
      'no PEM',
      /^Error: use TLS client authority \/.*ca\.crt: .*certificate in PEM$/,
    ],
  ] as const;
  for (const [file, content, message] of wrong) {
    const tls = writeTlsFiles(folder(t), made);
    writeFileSync(tls[file]!, content);
    await assert.rejects(server(t).listen({ host: '127.0.0.1', port: 0, tls }), message);
  }
});

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 5));
}
