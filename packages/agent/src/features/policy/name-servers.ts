import type { ObjectChange, SliceRecord } from '@heddle/objects';

/** The service of the cluster's name servers, where the configuration has none. */
const defaultService = 'kube-system/kube-dns';

/**
 * The addresses of the name servers whose answers give addresses to the names of rules: those of the configuration, and the
 * endpoints of its services. Pods ask a service, and the answer comes from an endpoint.
 */
export class NameServers {
  readonly services: ReadonlySet<string>;
  readonly #addresses: readonly string[];
  /** The endpoints of the services, by the names of their slices. */
  readonly #endpoints = new Map<string, readonly string[]>();

  /** `configured`: addresses, and services as `namespace/name`. */
  constructor(configured: readonly string[]) {
    const services = configured.filter((each) => each.includes('/'));
    this.#addresses = configured.filter((each) => !each.includes('/'));
    this.services = new Set(configured.length === 0 ? [defaultService] : services);
  }

  /** Takes changes of all kinds. Returns true if the addresses may have changed. */
  apply(changes: readonly ObjectChange[]): boolean {
    let isChanged = false;
    for (const change of changes) {
      if (change.op === 'invalid') continue;
      const { kind, namespace, name } = change.op === 'set' ? change.object : change;
      if (kind !== 'slice') continue;
      const key = `${namespace}/${name}`;
      if (change.op === 'set' && this.#isOfServer(change.object as SliceRecord)) {
        const { endpoints } = change.object as SliceRecord;
        this.#endpoints.set(
          key,
          endpoints.map(({ address }) => address),
        );
        isChanged = true;
      } else if (this.#endpoints.delete(key)) isChanged = true;
    }
    return isChanged;
  }

  get addresses(): ReadonlySet<string> {
    return new Set([...this.#addresses, ...[...this.#endpoints.values()].flat()]);
  }

  #isOfServer({ namespace, service }: SliceRecord): boolean {
    return this.services.has(`${namespace}/${service}`);
  }
}
