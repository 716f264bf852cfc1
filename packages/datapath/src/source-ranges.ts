import type { ServiceRow } from '@heddle/model';
import { parseCidr, parseIp, SysError } from '@heddle/sys';
import { protocolNumbers } from './backend-table.ts';
import { encodeSourceRangeKey, sourceRange, sourceRangeKeySize } from './generated/abi.ts';
import { type KeyedMap, keyBytes, keyText, MapFull } from './store.ts';

/** Bits of a key in front of the client's address. */
const frontendBits = 160;
const anybody = '::/0';

/**
 * The `source_ranges` map: at the LoadBalancer frontends of rows with ranges, who may come in. A
 * row's entries come before its frontends do, and go after them.
 */
export class SourceRanges {
  private readonly map: KeyedMap;
  /** The row that each entry is for; undefined: it was found at the start. */
  private readonly owners = new Map<string, string | undefined>();
  private readonly held = new Map<string, readonly string[]>();

  constructor(map: KeyedMap) {
    this.map = map;
    for (const [key] of map.entries()) this.owners.set(keyText(key), undefined);
  }

  /** Entries in the map. */
  get size(): number {
    return this.owners.size;
  }

  /** Writes what a row needs; what it needs no more stays until `settle`. Throws MapFull. */
  add(row: ServiceRow): void {
    if (row.sourceRanges.length === 0) return;
    const wanted = entriesOf(row);
    const key = new Uint8Array(sourceRangeKeySize);
    for (const [text, verdict] of wanted) {
      if (this.owners.get(text) === row.key) continue;
      keyBytes(text, key, 0);
      try {
        this.map.update(key, Uint8Array.of(verdict, 0, 0, 0));
      } catch (error) {
        // A trie says ENOSPC where hashes say E2BIG.
        if (!(error instanceof SysError) || error.code !== 'ENOSPC') throw error;
        throw new MapFull('source_ranges', this.map.info.maxEntries, 'nothing: it is fixed');
      }
      this.owners.set(text, row.key);
    }
    const before = this.held.get(row.key) ?? [];
    this.held.set(row.key, [...new Set([...before, ...wanted.keys()])]);
  }

  /** The row is in force as it is: removes what it needed before. */
  settle(row: ServiceRow): void {
    const before = this.held.get(row.key);
    if (!before) return;
    const wanted = row.sourceRanges.length === 0 ? new Map<string, number>() : entriesOf(row);
    this.drop(
      row.key,
      before.filter((text) => !wanted.has(text)),
    );
    if (wanted.size === 0) this.held.delete(row.key);
    else this.held.set(row.key, [...wanted.keys()]);
  }

  remove(rowKey: string): void {
    this.drop(rowKey, this.held.get(rowKey) ?? []);
    this.held.delete(rowKey);
  }

  /** All rows are known: removes what an earlier agent left for others. */
  prune(): void {
    const left = [...this.owners].filter(([, owner]) => owner === undefined);
    this.drop(
      undefined,
      left.map(([text]) => text),
    );
  }

  /** Deletes entries, unless another row has taken them over. */
  private drop(owner: string | undefined, texts: readonly string[]): void {
    const key = new Uint8Array(sourceRangeKeySize);
    for (const text of texts) {
      if (this.owners.get(text) !== owner) continue;
      keyBytes(text, key, 0);
      this.map.delete(key);
      this.owners.delete(text);
    }
  }
}

/** Keys as text with the verdict of each. */
function entriesOf({ frontends, sourceRanges, protocol }: ServiceRow): Map<string, number> {
  const entries = new Map<string, number>();
  const bytes = new Uint8Array(sourceRangeKeySize);
  for (const { kind, address, port } of frontends) {
    if (kind !== 'LoadBalancer') continue;
    const add = (range: string, verdict: number) => {
      const { address: client, prefixLength } = parseCidr(range)!;
      const key = {
        ...{ prefixLength: frontendBits + prefixLength, frontend: parseIp(address)!, port },
        ...{ protocol: protocolNumbers[protocol], reserved: 0, client },
      };
      encodeSourceRangeKey(key, bytes, 0);
      entries.set(keyText(bytes), verdict);
    };
    for (const range of sourceRanges) add(range, sourceRange.allowed);
    add(anybody, sourceRange.denied);
  }
  return entries;
}
