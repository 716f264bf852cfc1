import type { ClusterAccess } from '@heddle/kube';
import { canonicalAddress } from '@heddle/objects';
import type { ServerAddress } from './source.ts';

/** The largest number of resolved addresses, because a name may resolve to new ones for ever. */
const maxFound = 64;

/** The addresses of the API servers and of proxies in front of them: configured ones, and the latest of names. */
export class ServerAddresses {
  readonly #configured: readonly ServerAddress[];
  /** The resolved addresses by address and port; the latest one is last. */
  readonly #found = new Map<string, ServerAddress>();

  constructor({ servers, lastResort }: Pick<ClusterAccess, 'servers' | 'lastResort'>) {
    this.#configured = [...servers, ...(lastResort ? [lastResort] : [])].flatMap(
      ({ host, port }) => {
        const address = canonicalAddress(host);
        return address === undefined ? [] : [{ address, port }];
      },
    );
  }

  get all(): readonly ServerAddress[] {
    return [...this.#configured, ...this.#found.values()];
  }

  /** Adds the present addresses of a name. Returns true if one of them is new. */
  add(addresses: readonly string[], port: number): boolean {
    let isNew = false;
    for (const text of addresses) {
      const address = canonicalAddress(text);
      const isSame = (other: ServerAddress) => other.address === address && other.port === port;
      if (address === undefined || this.#configured.some(isSame)) continue;
      const key = `${address} ${port}`;
      if (!this.#found.delete(key)) isNew = true;
      this.#found.set(key, { address, port });
    }
    for (const key of this.#found.keys()) {
      if (this.#found.size <= maxFound) break;
      this.#found.delete(key);
    }
    return isNew;
  }
}
