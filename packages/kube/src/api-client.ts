import type { Platform } from '@heddle/sys';
import type { ClusterAccess, Credentials } from './access.ts';
import { ApiRequest, type ResponseHandlers } from './api-request.ts';
import type { HttpConnection } from './http-connection.ts';
import { formatServer } from './server.ts';
import { ServerList } from './server-list.ts';

/** An API server other than the configured ones. */
export interface DiscoveredServer {
  readonly host: string;
  readonly port: number;
}

const maxIdleConnections = 4;

/**
 * Makes requests to the first API server that can be reached. Connections are kept for the next request
 * with the same credentials. What bounds the time until an answer begins is here; how long a body may be
 * silent is up to who reads it.
 */
export class ApiClient implements Disposable {
  readonly #platform: Platform;
  readonly #access: ClusterAccess;
  readonly #servers: ServerList;
  readonly #onAddresses: ((addresses: readonly string[], port: number) => void) | undefined;
  readonly #requests = new Set<Disposable>();
  #idle: { readonly connection: HttpConnection; readonly credentials: Credentials }[] = [];

  /** `onAddresses` gets the addresses of a server or proxy before a connection to it is made. */
  constructor(
    platform: Platform,
    access: ClusterAccess,
    onAddresses?: (addresses: readonly string[], port: number) => void,
  ) {
    this.#platform = platform;
    this.#onAddresses = onAddresses;
    this.#access = access;
    this.#servers = new ServerList(access);
  }

  /** URL of the server that is in use, or is tried first. */
  get server(): string {
    return formatServer(this.#servers.current);
  }

  /** Says where else API servers are: the endpoints of the service default/kubernetes. */
  setDiscovered(servers: readonly DiscoveredServer[]): void {
    this.#servers.setDiscovered(servers);
  }

  /**
   * Asks for `path` (with its query; ASCII without spaces). Nothing is called before this has returned.
   * Disposing aborts. Throws KubeError for a path that cannot be asked for.
   */
  get(path: string, handlers: ResponseHandlers): Disposable {
    const request = new ApiRequest({
      platform: this.#platform,
      access: this.#access,
      servers: this.#servers,
      path,
      handlers,
      onAddresses: this.#onAddresses,
      takeIdle: (credentials) => this.#takeIdle(credentials),
      onOver: (connection, credentials) => {
        this.#requests.delete(request);
        if (connection?.isIdle && credentials) this.#idle.push({ connection, credentials });
        while (this.#idle.length > maxIdleConnections) {
          this.#idle.shift()!.connection[Symbol.dispose]();
        }
      },
    });
    this.#requests.add(request);
    return request;
  }

  /** Aborts all requests and closes all connections. */
  [Symbol.dispose](): void {
    for (const request of this.#requests) request[Symbol.dispose]();
    for (const { connection } of this.#idle) connection[Symbol.dispose]();
    this.#idle = [];
  }

  #takeIdle(credentials: Credentials): HttpConnection | undefined {
    // Credentials that have changed never come back, and a server that was left has a reason: what
    // was made with others, or to others, is of no more use.
    this.#idle = this.#idle.filter(({ connection, credentials: own }) => {
      const isUsable =
        connection.isIdle && own === credentials && this.#servers.isCurrent(connection.server);
      if (!isUsable) connection[Symbol.dispose]();
      return isUsable;
    });
    return this.#idle.pop()?.connection;
  }
}
