import type { Platform } from '@heddle/sys';
import type { ClusterAccess, Credentials } from './access.ts';
import { ApiRequest, type ResponseHandlers } from './api-request.ts';
import type { HttpConnection } from './http-connection.ts';
import { formatServer } from './server.ts';
import { ServerList } from './server-list.ts';

/** An API server that was discovered in the cluster. */
export interface DiscoveredServer {
  readonly host: string;
  readonly port: number;
}

const maxIdleConnections = 4;

/**
 * Sends requests to the first API server that can be reached. Connections are kept for the next request with
 * the same credentials. The client limits the time until a response begins. The reader of a body limits its
 * silence.
 */
export class ApiClient implements Disposable {
  readonly #platform: Platform;
  readonly #access: ClusterAccess;
  readonly #servers: ServerList;
  readonly #onAddresses: ((addresses: readonly string[], port: number) => void) | undefined;
  readonly #requests = new Set<Disposable>();
  #idle: { readonly connection: HttpConnection; readonly credentials: Credentials }[] = [];

  /** `onAddresses` is called with the addresses of a server or proxy before a connection to it is made. */
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

  /** The URL of the server in use, or of the one that is tried first. */
  get server(): string {
    return formatServer(this.#servers.current);
  }

  /** Sets further API servers: the endpoints of the service default/kubernetes. */
  setDiscovered(servers: readonly DiscoveredServer[]): void {
    this.#servers.setDiscovered(servers);
  }

  /**
   * Requests `path` (with its query; ASCII without spaces). Nothing is called before this returns. Disposal
   * aborts the request. Throws KubeError for a path that can't be requested.
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
    // Connections with other credentials, or to another server, are not needed again: credentials that have
    // changed never return, and a server was left for a reason.
    this.#idle = this.#idle.filter(({ connection, credentials: own }) => {
      const isUsable =
        connection.isIdle && own === credentials && this.#servers.isCurrent(connection.server);
      if (!isUsable) connection[Symbol.dispose]();
      return isUsable;
    });
    return this.#idle.pop()?.connection;
  }
}
