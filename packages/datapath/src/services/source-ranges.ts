import type { ServiceRow } from '@heddle/services';
import { parseCidr, parseIp, SysError } from '@heddle/sys';
import { type KeyedMap, keyBytes, keyText, NoRoom } from '../core/keyed-map.ts';
import { protocolNumbers } from '../core/protocols.ts';
import {
  encodeSourceRangeKey,
  type SourceRangeKey,
  sourceRange,
  sourceRangeKeySize,
} from '../generated/abi.ts';

/** Bits of a key before the client's address. */
const frontendBits = 160;
const anybody = '::/0';

/**
 * The map `source_ranges`: the clients that are allowed at LoadBalancer frontends of rows with ranges. A row's entries are
 * written before its frontends, and deleted after them. The rows of one service that have a frontend in common share its
 * entries.
 */
export class SourceRanges {
  readonly #map: KeyedMap;
  /** The rows that need each entry; an entry without rows is an earlier agent's. */
  readonly #owners = new Map<string, readonly string[]>();
  /** The verdict of each entry. That of `::/0` may change, as the ranges of an IPv6 frontend may include it. */
  readonly #verdicts = new Map<string, number>();
  readonly #held = new Map<string, readonly string[]>();
  /** Entries of an earlier agent, by frontend, until a row has the frontend or all rows are known. */
  readonly #found = new Map<string, string[]>();

  constructor(map: KeyedMap) {
    this.#map = map;
    for (const [key, value] of map.entries()) {
      const text = keyText(key);
      this.#owners.set(text, []);
      this.#verdicts.set(text, value[0]!);
      const others = this.#found.get(frontendOf(text));
      if (others) others.push(text);
      else this.#found.set(frontendOf(text), [text]);
    }
  }

  /** The number of entries. */
  get size(): number {
    return this.#owners.size;
  }

  /** Writes the entries that a row needs; those that it no longer needs stay until `commit`. Throws NoRoom, SysError. */
  add(row: ServiceRow): void {
    if (row.sourceRanges.length === 0) return;
    const key = new Uint8Array(sourceRangeKeySize);
    const held = new Set(this.#held.get(row.key));
    try {
      for (const [text, verdict] of entriesOf(row)) {
        if (this.#verdicts.get(text) !== verdict) {
          keyBytes(text, key, 0);
          this.#map.update(key, Uint8Array.of(verdict, 0, 0, 0));
          this.#verdicts.set(text, verdict);
        }
        if (held.has(text)) continue;
        this.#owners.set(text, [...(this.#owners.get(text) ?? []), row.key]);
        held.add(text);
      }
    } catch (error) {
      // A trie reports ENOSPC where hash maps report E2BIG.
      if (!(error instanceof SysError) || error.code !== 'ENOSPC') throw error;
      throw new NoRoom('source_ranges', this.#map.info.maxEntries, 'nothing: it is fixed');
    } finally {
      this.#held.set(row.key, [...held]);
    }
  }

  /** Deletes what the row no longer needs, and an earlier agent's entries. To be called once it is programmed. Throws SysError. */
  commit(row: ServiceRow): void {
    const wanted = row.sourceRanges.length === 0 ? new Map<string, number>() : entriesOf(row);
    const before = this.#held.get(row.key) ?? [];
    if (wanted.size === 0) this.#held.delete(row.key);
    else this.#held.set(row.key, [...wanted.keys()]);
    this.#drop(
      row.key,
      before.filter((text) => !wanted.has(text)),
    );
    if (this.#found.size === 0) return;
    for (const { address, port, protocol } of row.frontends) {
      const bytes = new Uint8Array(sourceRangeKeySize);
      encodeSourceRangeKey(keyOf(address, port, protocol, anybody), bytes, 0);
      const frontend = frontendOf(keyText(bytes));
      this.#drop(undefined, this.#found.get(frontend) ?? []);
      this.#found.delete(frontend);
    }
  }

  /** Deletes the entries of a row that is gone. Throws SysError. */
  remove(rowKey: string): void {
    const before = this.#held.get(rowKey) ?? [];
    this.#held.delete(rowKey);
    this.#drop(rowKey, before);
  }

  /** Deletes an earlier agent's entries that no row needs. Throws SysError. */
  prune(): void {
    for (const texts of this.#found.values()) this.#drop(undefined, texts);
    this.#found.clear();
  }

  /** Deletes entries that the row no longer needs, unless another row needs them. */
  #drop(rowKey: string | undefined, texts: readonly string[]): void {
    const key = new Uint8Array(sourceRangeKeySize);
    for (const text of texts) {
      const others = (this.#owners.get(text) ?? []).filter((owner) => owner !== rowKey);
      if (others.length > 0) {
        this.#owners.set(text, others);
        continue;
      }
      keyBytes(text, key, 0);
      this.#map.delete(key);
      this.#owners.delete(text);
      this.#verdicts.delete(text);
    }
  }
}

/** Returns the part of a key that names the frontend: what is between the prefix length and the client. */
function frontendOf(text: string): string {
  return text.slice(4, 4 + frontendBits / 8);
}

function keyOf(
  address: string,
  port: number,
  protocol: ServiceRow['protocol'],
  range: string,
): SourceRangeKey {
  const { address: client, prefixLength } = parseCidr(range)!;
  return {
    prefixLength: frontendBits + prefixLength,
    frontend: parseIp(address)!,
    port,
    protocol: protocolNumbers[protocol],
    reserved: 0,
    client,
  };
}

/** Returns the keys that a row needs, as text, with the verdict of each. */
function entriesOf({ frontends, sourceRanges, protocol }: ServiceRow): Map<string, number> {
  const entries = new Map<string, number>();
  const bytes = new Uint8Array(sourceRangeKeySize);
  for (const { kind, address, port } of frontends) {
    if (kind !== 'LoadBalancer') continue;
    const add = (range: string, verdict: number) => {
      encodeSourceRangeKey(keyOf(address, port, protocol, range), bytes, 0);
      entries.set(keyText(bytes), verdict);
    };
    // A range with all addresses replaces the first entry.
    add(anybody, sourceRange.denied);
    for (const range of sourceRanges) add(range, sourceRange.allowed);
  }
  return entries;
}
