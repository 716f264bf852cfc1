import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { createServer as httpsServer } from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { nodePlatform } from '@heddle/sys/node';
import { CertificateAuthority } from '@heddle/sys/testing/certificates';
import type { ClusterAccess, Credentials } from '../src/access.ts';
import { ApiClient } from '../src/api-client.ts';
import type { Server as ApiServer } from '../src/server.ts';

export const platform = nodePlatform(() => {});
/** The default CA of the servers' certificates. */
export const authority = new CertificateAuthority();
export const hosts = ['127.0.0.1', '::1', 'localhost', 'kubernetes.default.svc'];
export const served = authority.issue({ name: 'kube-apiserver', hosts });

/** Starts a server on a free port. It ends with the test, with all its connections. */
export async function start(
  t: TestContext,
  server: Server,
  host = '127.0.0.1',
): Promise<ApiServer> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
  });
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  server.listen(0, host);
  await once(server, 'listening');
  return { host, port: (server.address() as AddressInfo).port, isTls: true, path: '' };
}

export interface AccessParts extends Partial<Omit<ClusterAccess, 'credentials'>> {
  /** The credentials in order: the next one after the last was refused. */
  readonly credentials?: readonly Credentials[];
}

/** Returns the access to these servers, which trusts certificates of `authority`. */
export function accessTo(
  server: ApiServer | readonly ApiServer[],
  parts: AccessParts = {},
): ClusterAccess {
  const all = [...(parts.credentials ?? [{ ca: authority.cert }])];
  return {
    origin: 'the test',
    servers: [server].flat(),
    insecureSkipVerify: false,
    warnings: [],
    proxyFor: () => undefined,
    ...parts,
    credentials(rejected, onReady) {
      if (rejected === all[0] && all.length > 1) all.shift();
      onReady(all[0]!);
      return { [Symbol.dispose]() {} };
    },
  };
}

/** Returns a client that ends with the test. */
export function clientOf(t: TestContext, access: ClusterAccess): ApiClient {
  const client = new ApiClient(platform, access);
  t.after(() => client[Symbol.dispose]());
  return client;
}

/** Returns an HTTPS server that counts its connections. */
export async function startHttps(
  t: TestContext,
  listener: RequestListener,
  options = {},
  host?: string,
) {
  const server = httpsServer({ ...served, ...options }, listener);
  const counts = { connections: 0 };
  server.on('secureConnection', () => {
    counts.connections++;
  });
  return { server: await start(t, server, host), counts, http: server };
}
