import { KubeconfigError, type KubeError } from './errors.ts';
import type { ProxyServer } from './proxy.ts';
import { formatServer, parseServer, type Server } from './server.ts';

/**
 * The credentials of requests and connections. Two objects are different credentials: a connection is
 * reused only with the same object.
 */
export interface Credentials {
  /** The CAs of the server's certificate (PEM). The default is those of the system's trust store. */
  readonly ca?: string;
  /** PEM: the client's certificate and key. */
  readonly cert?: string;
  readonly key?: string;
  /** The bearer token. */
  readonly token?: string;
}

/** The API servers of a cluster, and the credentials for them. */
export interface ClusterAccess {
  /** The origin for messages: `/root/.kube/config (context kind)`. */
  readonly origin: string;
  /** The servers, at least one, in the order in which they are tried. */
  readonly servers: readonly Server[];
  /** The server that is tried after `servers` and discovered endpoints: the cluster's service address. */
  readonly lastResort?: Server;
  readonly insecureSkipVerify: boolean;
  /** Warnings for the user, e.g. that certificates are not verified. */
  readonly warnings: readonly string[];
  /** Returns the proxy for `server`, if there is one. Throws KubeconfigError. */
  proxyFor(server: Server): ProxyServer | undefined;
  /**
   * Passes the present credentials to `onReady`. Files that have changed are read again. `rejected` are
   * credentials that the server refused, which are not returned from memory again. `onReady` may be called
   * at once, and is not called after disposal of the returned object.
   */
  credentials(
    rejected: Credentials | undefined,
    onReady: (result: Credentials | KubeError) => void,
  ): Disposable;
}

/**
 * Returns an access to other addresses: those of the API servers themselves, so that the agent does not
 * depend on a service address that it provides. The server of `access` becomes the last resort. The
 * certificates must be for the addresses, or for the kubeconfig's tls-server-name. Without URLs, returns
 * `access`. Throws KubeconfigError for a malformed URL.
 */
export function withApiServers(access: ClusterAccess, urls: readonly string[]): ClusterAccess {
  const [before] = access.servers;
  if (urls.length === 0 || !before) return access;
  const servers = urls.map((url) => {
    const server = parseServer(url);
    if (typeof server === 'string') {
      throw new KubeconfigError(
        `use ${url} as an API server: ${server} (e.g. --api-server https://10.0.0.5:6443)`,
      );
    }
    const { serverName } = before;
    return serverName === undefined ? server : { ...server, serverName };
  });
  return {
    ...access,
    origin: `${access.origin}, --api-server ${servers.map(formatServer).join(', ')}`,
    servers,
    lastResort: access.lastResort ?? before,
  };
}
