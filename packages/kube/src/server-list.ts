import type { ClusterAccess } from './access.ts';
import type { Server } from './server.ts';

/** The name in the certificate of every API server, whatever its address is. */
const serviceName = 'kubernetes.default.svc';

/**
 * The order of the servers: the configured ones, the discovered ones, the last resort; starting with the one
 * that was used last. A server is used until it fails, so that clients do not change without a reason.
 */
export class ServerList {
  readonly #access: Pick<ClusterAccess, 'servers' | 'lastResort'>;
  #all: readonly Server[];
  #current: Server;

  constructor(access: Pick<ClusterAccess, 'servers' | 'lastResort'>) {
    this.#access = access;
    this.#all = this.#list([]);
    this.#current = this.#all[0]!;
  }

  /** The server that was used last, or is tried first. */
  get current(): Server {
    return this.#current;
  }

  /** Sets further API servers: the endpoints of the service default/kubernetes. */
  setDiscovered(addresses: readonly { readonly host: string; readonly port: number }[]): void {
    // Endpoints use TLS. A configured server with plain HTTP is a proxy that authenticates.
    const isTls = this.#access.servers.some((each) => each.isTls);
    const servers = isTls
      ? addresses.map((each) => ({ ...each, isTls, path: '', serverName: serviceName }))
      : [];
    this.#all = this.#list(servers);
    this.#current = this.#all.find((each) => isSame(each, this.#current)) ?? this.#all[0]!;
  }

  /** Returns all servers in the order in which they are tried. */
  order(): readonly Server[] {
    const first = this.#all.indexOf(this.#current);
    return [...this.#all.slice(first), ...this.#all.slice(0, first)];
  }

  isCurrent(server: Server): boolean {
    return isSame(server, this.#current);
  }

  succeeded(server: Server): void {
    this.#current = this.#all.find((each) => isSame(each, server)) ?? this.#current;
  }

  /** Reports that `server` failed: from now on the next one is tried first. */
  failed(server: Server): void {
    if (!this.isCurrent(server)) return;
    const at = this.#all.indexOf(this.#current);
    this.#current = this.#all[(at + 1) % this.#all.length]!;
  }

  #list(discovered: readonly Server[]): Server[] {
    const { servers, lastResort } = this.#access;
    const all = [...servers, ...discovered, ...(lastResort ? [lastResort] : [])];
    return all.filter((server, i) => all.findIndex((each) => isSame(each, server)) === i);
  }
}

/** Returns true if two servers have the same address. The name of the first one is used. */
function isSame(a: Server, b: Server): boolean {
  return a.host === b.host && a.port === b.port && a.path === b.path && a.isTls === b.isTls;
}
