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
  forwardingAnnotation,
  forwardings,
  podCIDRsAnnotation,
  weightsAnnotation,
} from './annotations.ts';
export { FieldError } from './field-values.ts';
export type { Fields } from './fields.ts';
export {
  nodeKind,
  objectLabel,
  podKind,
  readObject,
  readObjects,
  serviceKind,
  serviceReader,
  sliceKind,
} from './kinds.ts';
export { compactList, ownText } from './memory.ts';
export {
  type IgnoredObject,
  type Kind,
  ObjectReader,
  type ReadObject,
  type ReadResult,
} from './object-reader.ts';
export type {
  Algorithm,
  Bandwidth,
  EndpointRecord,
  Family,
  Forwarding,
  HostPort,
  InvalidRef,
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
} from './records.ts';
