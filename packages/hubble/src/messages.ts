export * from './generated/flow/flow_pb.js';
export {
  Denials,
  type GetNearestRuleRequest,
  type GetNearestRuleResponse,
} from './generated/heddle/denials_pb.js';
export {
  type GetFlowsRequest,
  GetFlowsRequestSchema,
  type GetFlowsResponse,
  GetFlowsResponseSchema,
  Observer,
  type ServerStatusResponse,
} from './generated/observer/observer_pb.js';
export {
  type ChangeNotification,
  ChangeNotificationType,
  Peer,
} from './generated/peer/peer_pb.js';
export { NodeState } from './generated/relay/relay_pb.js';
