import { connect } from 'node:net';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import {
  type GetFlowsRequestSchema,
  type GetFlowsResponse,
  Observer,
} from './generated/observer/observer_pb.js';

/** Returns the answers of an observer at a unix socket to GetFlows. Throws ConnectError. */
export async function* observedFlows(
  path: string,
  request: MessageInitShape<typeof GetFlowsRequestSchema>,
): AsyncGenerator<GetFlowsResponse> {
  const baseUrl = 'http://localhost';
  const sessionManager = new Http2SessionManager(baseUrl, undefined, {
    createConnection: () => connect(path),
  });
  try {
    const client = createClient(Observer, createGrpcTransport({ baseUrl, sessionManager }));
    yield* client.getFlows(request);
  } finally {
    sessionManager.abort();
  }
}
