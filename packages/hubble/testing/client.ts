import { connect } from 'node:net';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import type { Flow } from '../src/generated/flow/flow_pb.js';
import { type GetFlowsRequestSchema, Observer } from '../src/generated/observer/observer_pb.js';

/** Returns the flows that an observer at a unix socket answers. Throws ConnectError. */
export async function flowsAt(
  path: string,
  request: MessageInitShape<typeof GetFlowsRequestSchema>,
): Promise<Flow[]> {
  const baseUrl = 'http://localhost';
  const sessionManager = new Http2SessionManager(baseUrl, undefined, {
    createConnection: () => connect(path),
  });
  try {
    const client = createClient(Observer, createGrpcTransport({ baseUrl, sessionManager }));
    const flows: Flow[] = [];
    for await (const { responseTypes } of client.getFlows(request)) {
      if (responseTypes.case === 'flow') flows.push(responseTypes.value);
    }
    return flows;
  } finally {
    sessionManager.abort();
  }
}
