export type { Damage } from './audit.ts';
export type { BackendCounters } from './backend-table.ts';
export {
  currentPins,
  Datapath,
  type DatapathOptions,
  type DatapathSizes,
  type DatapathStatus,
  openDatapath,
  pinRoot,
} from './datapath.ts';
export type { DropNotice } from './drops.ts';
export { type IndexedFlows, keyOfSlot, placeOfKey, rehashed } from './flow-index.ts';
export { defaultNat, type FlowTimeouts, type NatOptions, type PortRange } from './flow-options.ts';
export { type FlowEntry, flowStates, readFlows } from './flows.ts';
export { decodeFlowBucket, decodeNatTable, deviceRole, encodeNatTable } from './generated/abi.ts';
export { maglevSize, maglevTable } from './maglev.ts';
export type { PortUse } from './nat-ports.ts';
export type { NatStatus } from './nat-table.ts';
export type { NodeDevice } from './node-devices.ts';
export { PinLock, PinsInUse } from './pin-lock.ts';
export type { RefusalCount } from './service-refusals.ts';
export { MapFull } from './store.ts';
export { type XdpMode, type XdpState, xdpModes } from './xdp-devices.ts';
