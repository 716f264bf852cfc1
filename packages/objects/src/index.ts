export {
  canonicalAddress,
  canonicalRange,
  familyOf,
  inRanges,
  isLoopback,
  isUnspecified,
  takesNodePorts,
  unspecifiedAddress,
} from './addresses.ts';
export {
  algorithmAnnotation,
  forwardingAnnotation,
  forwardings,
  weightsAnnotation,
} from './annotations.ts';
export { type Fields, nodeFields, podFields, serviceFields, sliceFields } from './fields.ts';
export { compactList, ownText } from './memory.ts';
export { readObject, readObjects } from './read-object.ts';
export {
  type Algorithm,
  type EndpointRecord,
  type Family,
  type Forwarding,
  type HostPort,
  type InvalidRef,
  type NodeRecord,
  type ObjectChange,
  type ObjectKind,
  type ObjectRecord,
  type ObjectRef,
  objectLabel,
  type PodRecord,
  type Protocol,
  type ReadObject,
  type ServicePort,
  type ServiceRecord,
  type SlicePort,
  type SliceRecord,
} from './records.ts';
