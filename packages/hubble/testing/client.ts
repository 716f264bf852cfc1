import type { MessageInitShape } from '@bufbuild/protobuf';
import { observedFlows } from '../src/client.ts';
import type { Flow } from '../src/generated/flow/flow_pb.js';
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
