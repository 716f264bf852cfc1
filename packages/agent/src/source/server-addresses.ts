import type { ClusterAccess } from '@heddle/kube';
import { canonicalAddress } from '@heddle/objects';
import type { ServerAddress } from './source.ts';

/** The number of resolved addresses that are kept: a name with ever new ones takes no more. */
const mostFound = 64;

/** The addresses of the API servers and the proxies before them: those configured, and those that names had lately. */
export class ServerAddresses {
  readonly #configured: readonly ServerAddress[];
  /** The addresses by address and port; the one seen last is at the end. */
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

  /** Notes what a name stands for now; true when something of it is new. */
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
      if (this.#found.size <= mostFound) break;
      this.#found.delete(key);
    }
    return isNew;
  }
}
