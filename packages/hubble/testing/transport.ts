import { connect } from 'node:net';
import type { TestContext } from 'node:test';
import type { Transport } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';

/** Returns a gRPC transport over a unix socket. It is closed at the end of the test. */
export function unixTransport(t: TestContext, path: string): Transport {
  const baseUrl = 'http://localhost';
  const sessionManager = new Http2SessionManager(baseUrl, undefined, {
    createConnection: () => connect(path),
  });
  t.after(() => sessionManager.abort());
  return createGrpcTransport({ baseUrl, sessionManager });
}
