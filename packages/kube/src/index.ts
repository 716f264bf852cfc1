export { type ClusterAccess, type Credentials, withApiServers } from './access.ts';
export { ApiClient, type DiscoveredServer, type ResponseHandlers } from './api-client.ts';
export {
  ConnectionError,
  HttpError,
  KubeconfigError,
  KubeError,
  StatusError,
} from './errors.ts';
export { inClusterAccess } from './in-cluster.ts';
export { type KubeconfigChoice, readKubeconfig } from './kubeconfig.ts';
export type { Environment, ProxyServer } from './proxy.ts';
export { formatServer, type Server } from './server.ts';
