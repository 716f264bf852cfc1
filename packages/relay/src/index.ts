export { relayService } from './observer/service.ts';
export type { ConnectionSettings } from './peers/connection.ts';
export { followPeers } from './peers/follow-peers.ts';
export { PeerPool } from './peers/pool.ts';
export type { PeerTlsFiles, Target } from './peers/transport.ts';
