export type { ClusterAccess, Credentials } from './access.ts';
export { ApiClient, type DiscoveredServer, type ResponseHandlers } from './api-client.ts';
export {
  ConnectionError,
  HttpError,
  KubeconfigError,
  KubeError,
  StatusError,
} from './errors.ts';
export { LineFrames, ListFrames, ProtocolError } from './frames.ts';
export { type Fields, JsonError, mergeFields, readJson } from './json.ts';
export type { Resource } from './list-requests.ts';
export { ListWatch, type ListWatchOptions, type WatchState } from './list-watch.ts';
export type { ResourceChange } from './listing.ts';
export { type Environment, type ProxyServer, parseProxy, proxyFromEnvironment } from './proxy.ts';
export { formatServer, parseServer, type Server } from './server.ts';
