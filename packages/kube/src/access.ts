import { KubeconfigError, type KubeError } from './errors.ts';
import type { ProxyServer } from './proxy.ts';
import { formatServer, parseServer, type Server } from './server.ts';

/**
 * What requests and connections are made with. Two that are not the same object are different: a
 * connection is used again only with the credentials that it was made with.
 */
export interface Credentials {
  /** PEM: who may have signed the server's certificate; absent: those that the machine trusts. */
  readonly ca?: string;
  /** PEM: the client's own certificate and key. */
  readonly cert?: string;
  readonly key?: string;
  /** The bearer token. */
  readonly token?: string;
}

/** How to reach the API servers of a cluster, and as whom. */
export interface ClusterAccess {
  /** Where this comes from, for messages: `/root/.kube/config (context kind)`. */
  readonly origin: string;
  /** Tried in turn; at least one. */
  readonly servers: readonly Server[];
  /** Tried after `servers` and after discovered endpoints: the cluster's own service address. */
  readonly lastResort?: Server;
  readonly insecureSkipVerify: boolean;
  /** Sentences that the user should read, e.g. that certificates are not verified. */
  readonly warnings: readonly string[];
  /** The proxy through which `server` is reached, if there is one. Throws KubeconfigError. */
  proxyFor(server: Server): ProxyServer | undefined;
  /**
   * Gives what to authenticate with now; files that have changed are read again. `rejected` are
   * credentials that the server did not accept: they are not taken from memory again. `onReady` may be
   * called at once, and is not called after the returned object was disposed.
   */
  credentials(
    rejected: Credentials | undefined,
    onReady: (result: Credentials | KubeError) => void,
  ): Disposable;
}

/**
 * The same access at other addresses: those of the API servers themselves, given by the user so that
 * the agent depends on nothing that it provides. What was the server before is the last resort. The
 * certificates must be for the addresses, or for the kubeconfig's tls-server-name. Throws
 * KubeconfigError for a malformed URL; no URLs change nothing.
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
