export * from './generated/flow/flow_pb.js';
export {
  type GetFlowsRequest,
  GetFlowsRequestSchema,
  type GetFlowsResponse,
  GetFlowsResponseSchema,
  Observer,
} from './generated/observer/observer_pb.js';
export { Peer } from './generated/peer/peer_pb.js';
export { NodeState } from './generated/relay/relay_pb.js';
