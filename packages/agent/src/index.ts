export type { DropNotice } from '@heddle/datapath';
export { Agent, type AgentParts } from './agent.ts';
export { prepareBpffs } from './bpffs.ts';
export * from './config.ts';
export * from './control/protocol.ts';
export { ControlServer, type Handler } from './control/server.ts';
export type { DatapathPart } from './datapath-part.ts';
export type { AgentEvent } from './events.ts';
export { cgroupRoot, hostName } from './machine.ts';
export { ownAddresses } from './own-addresses.ts';
export { preflight } from './preflight.ts';
export {
  isManifestName,
  type ManifestReport,
  openFolderSource,
  type Source,
  type SourceBatch,
  type SourceListener,
  type SourceProblem,
  type SourceState,
  validateManifests,
} from './source/index.ts';
export { type StartOptions, startAgent } from './start.ts';
export type * from './status.ts';
