export { type Access, openAccess, TokenAccess } from './api/access.ts';
export { UiServer, type UiSettings } from './api/server.ts';
export { relayService } from './observer/service.ts';
export type { ConnectionSettings } from './peers/connection.ts';
export { followPeers } from './peers/follow-peers.ts';
export { PeerPool } from './peers/pool.ts';
export type { PeerTlsFiles, Target } from './peers/transport.ts';
export { followFlows } from './traffic/follow.ts';
export { Traffic, type TrafficLimits } from './traffic/traffic.ts';
