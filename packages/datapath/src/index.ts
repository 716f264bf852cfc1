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
export { defaultNat, type FlowTimeouts, type NatOptions } from './flow-options.ts';
export { type FlowEntry, readFlows } from './flows.ts';
export { maglevSize, maglevTable } from './maglev.ts';
export { type NatStatus, portsByDestination } from './nat-table.ts';
export type { NodeDevice } from './node-devices.ts';
export { MapFull } from './store.ts';
export { type XdpMode, type XdpState, xdpModes } from './xdp-devices.ts';
