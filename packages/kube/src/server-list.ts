import type { ClusterAccess } from './access.ts';
import type { Server } from './server.ts';

/** The name that the certificate of every API server has, whatever its address is. */
const serviceName = 'kubernetes.default.svc';

/**
 * Which servers are tried, and in which order: those that are configured, those that were
 * discovered, the last resort; beginning with the one that served last. Who serves is kept until
 * it fails, so that clients don't wander for nothing.
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

  /** The server that served last, or is tried first. */
  get current(): Server {
    return this.#current;
  }

  /** Says where API servers are besides: the endpoints of the service default/kubernetes. */
  setDiscovered(addresses: readonly { readonly host: string; readonly port: number }[]): void {
    // Endpoints speak TLS. Who was given plain HTTP has a helper on the way there that authenticates.
    const isTls = this.#access.servers.some((each) => each.isTls);
    const servers = isTls
      ? addresses.map((each) => ({ ...each, isTls, path: '', serverName: serviceName }))
      : [];
    this.#all = this.#list(servers);
    this.#current = this.#all.find((each) => isSame(each, this.#current)) ?? this.#all[0]!;
  }

  /** All servers, in the order in which they are to be tried. */
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

  /** `server` doesn't serve: the next one is tried first from now on. */
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

/** The same place. The first one that names it says by which name it is known. */
function isSame(a: Server, b: Server): boolean {
  return a.host === b.host && a.port === b.port && a.path === b.path && a.isTls === b.isTls;
}
