/** The limits of a cache of names. */
export interface NameLimits {
  readonly addresses: number;
  readonly namesOfAddress: number;
  /** The time for which a name counts at least, and at most, in milliseconds. */
  readonly keptMin: number;
  readonly keptMax: number;
}

/** Connections go on after the TTL of the name by which they were opened, so names are kept longer. */
const usual: NameLimits = {
  ...{ addresses: 16_384, namesOfAddress: 4 },
  ...{ keptMin: 10 * 60_000, keptMax: 24 * 3_600_000 },
};

interface Entry {
  readonly names: readonly { readonly name: string; readonly endMs: number }[];
}

/** The names of addresses, as name servers have answered to pods. An address and a name that are used no more are forgotten. */
export class DnsNames {
  readonly #limits: NameLimits;
  /** By the key of the address; the one that was learnt longest ago is first. */
  readonly #entries = new Map<string, Entry>();

  constructor(limits: NameLimits = usual) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Adds the name of an address, with its TTL in seconds. */
  add(address: string, name: string, ttl: number, nowMs: number): void {
    const { addresses, namesOfAddress, keptMin, keptMax } = this.#limits;
    const endMs = nowMs + Math.min(keptMax, Math.max(keptMin, ttl * 1000));
    const others = (this.#entries.get(address)?.names ?? []).filter(
      (each) => each.name !== name && each.endMs > nowMs,
    );
    this.#entries.delete(address);
    // The latest name first.
    const names = [{ name, endMs }, ...others].slice(0, namesOfAddress);
    this.#entries.set(address, { names });
    if (this.#entries.size <= addresses) return;
    const [oldest] = this.#entries.keys();
    if (oldest !== undefined) this.#entries.delete(oldest);
  }

  /** Returns the names of an address, the latest first. */
  of(address: string, nowMs: number): readonly string[] {
    const entry = this.#entries.get(address);
    if (!entry) return [];
    const names = entry.names.filter(({ endMs }) => endMs > nowMs);
    if (names.length === 0) this.#entries.delete(address);
    return names.map(({ name }) => name);
  }
}
