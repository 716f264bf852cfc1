import { connect } from 'node:net';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { createClient, type Transport } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import {
  type GetFlowsRequestSchema,
  type GetFlowsResponse,
  Observer,
} from './generated/observer/observer_pb.js';

/** A connection to an observer, which ends with the scope. */
export interface ObserverTransport extends Disposable {
  readonly transport: Transport;
}

/** Returns a connection to the observer at a unix socket. Calls on it throw ConnectError. */
export function observerTransport(path: string): ObserverTransport {
  const baseUrl = 'http://localhost';
  const sessionManager = new Http2SessionManager(baseUrl, undefined, {
    createConnection: () => connect(path),
  });
  return {
    transport: createGrpcTransport({ baseUrl, sessionManager }),
    [Symbol.dispose]: () => sessionManager.abort(),
  };
}

/** Returns the answers of an observer at a unix socket to GetFlows. Throws ConnectError. */
export async function* observedFlows(
  path: string,
  request: MessageInitShape<typeof GetFlowsRequestSchema>,
): AsyncGenerator<GetFlowsResponse> {
  using connection = observerTransport(path);
  yield* createClient(Observer, connection.transport).getFlows(request);
}
