/** The kind of object that has an address. */
export type HolderKind = 'node' | 'clusterIP' | 'pod' | 'endpoint';

/**
 * Knows, for the addresses that services ask for as externalIP or have as a load balancer's address,
 * which objects have them already. Anyone who may write a Service may write any externalIP, so one that
 * is an address of somebody else would let its author take over that traffic (CVE-2020-8554).
 *
 * Only addresses asked for are kept, so that this costs nothing where externalIPs aren't used; the
 * model shows it all holders once when an address is new here.
 */
export class AddressHolders {
  readonly #watched = new Map<
    string,
    { readonly users: Set<string>; readonly holders: Map<string, HolderKind> }
  >();

  get isEmpty(): boolean {
    return this.#watched.size === 0;
  }

  /** Notes that `user` asks for `address`. True when nobody did before: its holders aren't known. */
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

  /** Notes that `holder` (as words: `an address of Node a`) has `address`; returns who asks for it. */
  hold(address: string, holder: string, kind: HolderKind): Iterable<string> {
    const entry = this.#watched.get(address);
    entry?.holders.set(holder, kind);
    return entry?.users ?? [];
  }

  /** Notes that `holder` has `address` no more; returns who asks for it. */
  release(address: string, holder: string): Iterable<string> {
    const entry = this.#watched.get(address);
    entry?.holders.delete(holder);
    return entry?.users ?? [];
  }

  /** Returns a text that names the object of these kinds which has the address, or undefined when none has. */
  holderOf(address: string, kinds: readonly HolderKind[]): string | undefined {
    let first: string | undefined;
    for (const [holder, kind] of this.#watched.get(address)?.holders ?? []) {
      if (kinds.includes(kind) && (first === undefined || holder < first)) first = holder;
    }
    return first;
  }
}
