import type { MessageInitShape } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { observedFlows, observerTransport } from '../src/client.ts';
import type { Flow } from '../src/generated/flow/flow_pb.js';
import {
  Denials,
  type GetNearestRuleRequestSchema,
  type GetNearestRuleResponse,
} from '../src/generated/heddle/denials_pb.js';
import type { GetFlowsRequestSchema } from '../src/generated/observer/observer_pb.js';

/** Returns the flows that an observer at a unix socket answers. Throws ConnectError. */
export async function flowsAt(
  path: string,
  request: MessageInitShape<typeof GetFlowsRequestSchema>,
): Promise<Flow[]> {
  const flows: Flow[] = [];
  for await (const { responseTypes } of observedFlows(path, request)) {
    if (responseTypes.case === 'flow') flows.push(responseTypes.value);
  }
  return flows;
}

/** Returns the answer of an observer at a unix socket about the nearest rule. Throws ConnectError. */
export async function nearestRuleAt(
  path: string,
  request: MessageInitShape<typeof GetNearestRuleRequestSchema>,
): Promise<GetNearestRuleResponse> {
  using connection = observerTransport(path);
  return await createClient(Denials, connection.transport).getNearestRule(request);
}
