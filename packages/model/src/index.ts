export {
  canonicalAddress,
  canonicalRange,
  familyOf,
  isLoopback,
  isUnspecified,
  unspecifiedOf,
} from './addresses.ts';
export {
  algorithmAnnotation,
  forwardingAnnotation,
  forwardings,
  weightsAnnotation,
} from './annotations.ts';
export { leftAlone } from './eligibility.ts';
export { type Fields, nodeFields, podFields, serviceFields, sliceFields } from './fields.ts';
export { wantsTunnels } from './forwarding.ts';
export { podRowName } from './host-ports.ts';
export { compactList, ownText } from './memory.ts';
export { readObject, readObjects } from './read-object.ts';
export {
  type EndpointRecord,
  type HostPort,
  type InvalidRef,
  type NodeRecord,
  type ObjectChange,
  type ObjectKind,
  type ObjectRecord,
  type ObjectRef,
  objectLabel,
  type PodRecord,
  type ReadObject,
  type ServicePort,
  type ServiceRecord,
  type SlicePort,
  type SliceRecord,
} from './records.ts';
export type { ReservedPort } from './reserved-ports.ts';
export { apiServer } from './reserved-ports.ts';
export type {
  Algorithm,
  Backend,
  Family,
  Forwarding,
  Frontend,
  FrontendKind,
  HealthCheck,
  Protocol,
  ServiceRow,
} from './rows.ts';
export {
  type NodeContext,
  type ObjectProblem,
  type RowChanges,
  ServiceModel,
  type TunnelEnds,
} from './service-model.ts';
