export type { Damage } from './core/audit.ts';
export {
  type DropReasonEntry,
  dropReasons,
  dropReasonText,
  type ReasonCount,
} from './core/drop-reasons.ts';
export { NoRoom } from './core/keyed-map.ts';
export { loadShared } from './core/load-shared.ts';
export type { EntryAccess, EntryNames, MapDescription } from './core/map-description.ts';
export { PinLock, PinsInUse } from './core/pin-lock.ts';
export { currentPins, pinRoot } from './core/pinned-maps.ts';
export { protocolNumber, protocolText } from './core/protocols.ts';
export { Datapath, openDatapath } from './datapath.ts';
export type {
  DatapathOptions,
  DatapathSizes,
  PodNetworkOptions,
} from './datapath-options.ts';
export { externalInterfaces } from './devices/maps.ts';
export { filterPlace, type NodeDevice } from './devices/node-devices.ts';
export { type XdpMode, type XdpState, xdpModes } from './devices/xdp-devices.ts';
export type { DnsAnswer } from './events/dns-answers.ts';
export type { DropNotice } from './events/drops.ts';
export { backendCodec, decodeCtBucket, decodeCtTable } from './generated/abi.ts';
export { describeAccess, isMapName, type MapName, mapCatalog } from './map-catalog.ts';
export { keyOfSlot, placeOfKey } from './nat/flow-index.ts';
export {
  defaultNat,
  type FlowTimeouts,
  type NatOptions,
  type PortRange,
} from './nat/flow-options.ts';
export type { NatStatus } from './nat/flow-table.ts';
export {
  type FlowEntry,
  flowStates,
  flowsOfElements,
  isConfirmed,
  isTunnelled,
  protocolOfState,
  snatIndexOf,
  stateOf,
} from './nat/flows.ts';
export type { PortUse } from './nat/nat-ports.ts';
export { withPublicSecret } from './nat/public-index.ts';
export { podBlocks, podFilters } from './pods/pod-programs.ts';
export type { PodLimits } from './pods/pod-rates.ts';
export { type ProgrammedPod, podGatewayMac } from './pods/pod-tables.ts';
export type { PolicyTables } from './policy/policy-tables.ts';
export { tierRegions } from './policy/rule-numbers.ts';
export type { NumberedRule } from './policy/rule-table.ts';
export { policyRules } from './policy/vectors.ts';
export type { Verdict } from './policy/verdicts.ts';
export type { BackendCounters } from './services/backend-table.ts';
export { maglevSize, maglevTable } from './services/maglev.ts';
export type { DatapathStatus } from './status.ts';
