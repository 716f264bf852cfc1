export { type ClusterAccess, type Credentials, withApiServers } from './access.ts';
export { ApiClient, type DiscoveredServer } from './api-client.ts';
export type { ResponseHandlers } from './api-request.ts';
export {
  ConnectionError,
  KubeconfigError,
  KubeError,
  StatusError,
} from './errors.ts';
export type { Fields } from './fields.ts';
export { LineFrames, ListFrames, ProtocolError } from './frames.ts';
export { inClusterAccess } from './in-cluster.ts';
export { JsonError, readJson } from './json.ts';
export { type KubeconfigChoice, readKubeconfig } from './kubeconfig.ts';
export type { Resource } from './list-requests.ts';
export { ListWatch, type ListWatchOptions, type WatchState } from './list-watch.ts';
export type { ResourceChange } from './listing.ts';
export type { Environment, ProxyServer } from './proxy.ts';
export { formatServer, type Server } from './server.ts';
