export { reasonNotServed } from './eligibility.ts';
export { wantsTunnels } from './forwarding.ts';
export { podRowName } from './host-ports.ts';
export { apiServer, isApiServerSlice, type ReservedPort } from './reserved-ports.ts';
export type { Backend, Frontend, FrontendKind, HealthCheck, ServiceRow } from './rows.ts';
export {
  type NodeContext,
  type ObjectProblem,
  type RowChanges,
  ServiceModel,
  type TunnelEnds,
} from './service-model.ts';
