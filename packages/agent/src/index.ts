export type { DropNotice } from '@heddle/datapath';
export type { NearestRule } from '@heddle/policy-tools';
export { Agent, type AgentParts } from './agent.ts';
export type { AgentStatus } from './agent-status.ts';
export { prepareBpffs } from './bpffs.ts';
export * from './config.ts';
export * from './control/protocol.ts';
export { ControlServer, type Handler } from './control/server.ts';
export type { NodeDatapath } from './datapath-part.ts';
export type { AgentEvent } from './events.ts';
export type * from './features/flows/status.ts';
export { allFeatures, type FeaturesDatapath } from './features/index.ts';
export type * from './features/names/status.ts';
export type * from './features/node-routes/status.ts';
export { type CniSettings, installCni, removeCni } from './features/pods/install.ts';
export { findPodLinks, removeNodeRoutes } from './features/pods/removal.ts';
export type * from './features/pods/status.ts';
export type * from './features/policy/status.ts';
export type * from './features/services/status.ts';
export { cgroupRoot, hostName } from './machine.ts';
export { findNodeDevices } from './node/node-devices.ts';
export { ownAddresses } from './node/own-addresses.ts';
export { preflight } from './preflight.ts';
export {
  isManifestName,
  openFolderSource,
  type Source,
  type SourceBatch,
  type SourceListener,
  type SourceProblem,
  type SourceState,
} from './source/index.ts';
export { type StartOptions, startAgent } from './start.ts';
export type * from './status.ts';
export { type ManifestReport, validateManifests } from './validate.ts';
