/** The kind of object that has an address. */
export type HolderKind = 'node' | 'clusterIP' | 'pod' | 'endpoint';

/**
 * Records which objects have the addresses that services use as externalIP or load balancer
 * address. Anyone who may write a Service may write any externalIP, so an externalIP that is
 * another object's address would let its author take over that object's traffic (CVE-2020-8554).
 *
 * Only requested addresses are kept, so this costs nothing without externalIPs. When an address is
 * requested for the first time, the model adds all its holders once.
 */
export class AddressHolders {
  readonly #watched = new Map<
    string,
    { readonly users: Set<string>; readonly holders: Map<string, HolderKind> }
  >();

  get isEmpty(): boolean {
    return this.#watched.size === 0;
  }

  /**
   * Records that `user` requests `address`. Returns true for the first request: the caller then
   * adds the holders.
   */
  watch(address: string, user: string): boolean {
    const entry = this.#watched.get(address);
    if (entry) {
      entry.users.add(user);
      return false;
    }
    this.#watched.set(address, { users: new Set([user]), holders: new Map() });
    return true;
  }

  unwatch(address: string, user: string): void {
    const entry = this.#watched.get(address);
    entry?.users.delete(user);
    if (entry?.users.size === 0) this.#watched.delete(address);
  }

  /**
   * Records that `holder` (a text such as `an address of Node a`) has `address`. Returns the users
   * of the address.
   */
  hold(address: string, holder: string, kind: HolderKind): Iterable<string> {
    const entry = this.#watched.get(address);
    entry?.holders.set(holder, kind);
    return entry?.users ?? [];
  }

  /** Records that `holder` no longer has `address`. Returns the users of the address. */
  release(address: string, holder: string): Iterable<string> {
    const entry = this.#watched.get(address);
    entry?.holders.delete(holder);
    return entry?.users ?? [];
  }

  /** Returns the text of a holder of one of these kinds that has the address, or undefined. */
  holderOf(address: string, kinds: readonly HolderKind[]): string | undefined {
    let first: string | undefined;
    for (const [holder, kind] of this.#watched.get(address)?.holders ?? []) {
      if (kinds.includes(kind) && (first === undefined || holder < first)) first = holder;
    }
    return first;
  }
}
