export type { ClusterAccess, Credentials } from './access.ts';
export { ApiClient, type DiscoveredServer, type ResponseHandlers } from './api-client.ts';
export {
  ConnectionError,
  HttpError,
  KubeconfigError,
  KubeError,
  StatusError,
} from './errors.ts';
export { type Environment, type ProxyServer, parseProxy, proxyFromEnvironment } from './proxy.ts';
export { formatServer, parseServer, type Server } from './server.ts';
