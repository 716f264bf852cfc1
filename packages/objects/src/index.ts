export {
  canonicalAddress,
  canonicalRange,
  familyOf,
  inRanges,
  isLoopback,
  isUnspecified,
  specialAddress,
  takesNodePorts,
  unspecifiedAddress,
} from './addresses.ts';
export {
  algorithmAnnotation,
  congestionControlAnnotation,
  type DenyResponse,
  denyResponseAnnotation,
  denyResponses,
  forwardingAnnotation,
  forwardings,
  podCIDRsAnnotation,
  policyModeAnnotation,
  weightsAnnotation,
} from './annotations.ts';
export { FieldError } from './field-values.ts';
export type { Fields } from './fields.ts';
export {
  clusterNetworkPolicyKind,
  namespaceKind,
  networkPolicyKind,
  nodeKind,
  objectLabel,
  type PolicyInput,
  podKind,
  policyReader,
  readObject,
  readObjects,
  serviceKind,
  serviceReader,
  sliceKind,
} from './kinds.ts';
export { type Labels, labelValue, readLabels } from './labels.ts';
export { compactList, ownText } from './memory.ts';
export {
  type IgnoredObject,
  type Kind,
  ObjectReader,
  type ReadObject,
  type ReadResult,
} from './object-reader.ts';
export type {
  ClusterNetworkPolicyRecord,
  NamespaceRecord,
  NetworkPolicyRecord,
  PeerRecord,
  PortRecord,
  Requirement,
  RuleRecord,
  Selector,
} from './policy-records.ts';
export type {
  Algorithm,
  Bandwidth,
  EndpointRecord,
  Family,
  Forwarding,
  HostPort,
  InvalidRef,
  NamedPort,
  NodeRecord,
  ObjectChange,
  ObjectRef,
  PodRecord,
  Protocol,
  ServiceInput,
  ServicePort,
  ServiceRecord,
  SlicePort,
  SliceRecord,
  Workload,
} from './records.ts';
export { serviceNameLabel } from './schema.ts';
