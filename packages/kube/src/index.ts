export type { ClusterAccess, Credentials, Server } from './access.ts';
export { ApiClient, type DiscoveredServer, type ResponseHandlers } from './api-client.ts';
export {
  ConnectionError,
  HttpError,
  KubeconfigError,
  KubeError,
  StatusError,
} from './errors.ts';
