import { widerPatterns } from '@heddle/policy';
import { type Cidr, parseCidr } from '@heddle/sys';
import type { KeyedMap } from '../core/keyed-map.ts';
import { keyText, NoRoom, wordBytes, wordOf } from '../core/keyed-map.ts';
import { addressKeySize, encodeRangeKey, rangeKeySize } from '../generated/abi.ts';
import type { NameEntries } from './name-entries.ts';

/** The bits of an address; a longer prefix does not exist. */
const addressBits = 128;

/**
 * The key of an address or of a range: the bytes of struct range_key as text. The key of a name begins with a number above
 * `addressBits` instead, which grows with its labels.
 */
export type PeerKey = string;

/** Returns the key of an address or range as canonical text. Throws RangeError for other text. */
export function peerKey(range: string): PeerKey {
  const parsed = parseCidr(range);
  if (!parsed) throw new RangeError(`program peer: ${range} is no range of addresses`);
  return keyOf(parsed);
}

/** Returns the key of the name of a host, or of a pattern such as `*.example.com`. */
export function peerNameKey(name: string): PeerKey {
  return `${String.fromCharCode(addressBits + 1 + name.split('.').length)}${name}`;
}

/** Returns the length of the prefix of a key, in the 128-bit form. That of a narrower name is longer, too. */
export function prefixLength(key: PeerKey): number {
  return key.charCodeAt(0);
}

/** Returns true for the key of a range or name, which wider ones may contain. */
export function isRange(key: PeerKey): boolean {
  return prefixLength(key) !== addressBits;
}

/** Returns the name of a key, or undefined if it is the key of addresses. */
function nameIn(key: PeerKey): string | undefined {
  return prefixLength(key) > addressBits ? key.slice(1) : undefined;
}

/** The maps of peers. */
export interface PeerMaps {
  readonly addresses: KeyedMap;
  readonly ranges: KeyedMap;
  readonly names: NameEntries;
}

/** An entry to write. */
export interface PeerWrite {
  readonly key: PeerKey;
  /** The index of the vector. */
  readonly vector: number;
}

/**
 * The maps `policy_peers` (addresses) and `policy_ranges` (ranges by the longest prefix) as one table of ranges, whose
 * longest one counts, and beside them the names of hosts.
 */
export class PeerEntries {
  readonly #addresses: KeyedMap;
  readonly #ranges: KeyedMap;
  readonly #names: NameEntries;
  /** The number of ranges by the length of their prefixes. */
  readonly #lengths = new Map<number, number>();
  #addressCount = 0;
  #rangeCount = 0;
  readonly #has: (key: PeerKey) => boolean;

  /** `has` returns true for the keys that have an entry. */
  constructor({ addresses, ranges, names }: PeerMaps, has: (key: PeerKey) => boolean) {
    this.#addresses = addresses;
    this.#ranges = ranges;
    this.#names = names;
    this.#has = has;
  }

  /** The number of entries of each map. */
  get sizes(): Readonly<Record<'policy_peers' | 'policy_ranges' | 'policy_names', number>> {
    return {
      policy_peers: this.#addressCount,
      policy_ranges: this.#rangeCount,
      policy_names: this.#names.size,
    };
  }

  /** Returns what an earlier agent has written. Throws SysError. */
  *read(): Generator<PeerWrite> {
    const key = new Uint8Array(rangeKeySize);
    for (const [address, value] of this.#addresses.entries()) {
      encodeRangeKey({ address, prefixLength: addressBits }, key);
      yield { key: keyText(key), vector: wordOf(value) };
    }
    for (const [range, value] of this.#ranges.entries()) {
      yield { key: keyText(range), vector: wordOf(value) };
    }
    for (const [name, vector] of this.#names.read()) yield { key: peerNameKey(name), vector };
  }

  /** Takes note that a key has an entry from now on, or has none any more. */
  count(key: PeerKey, change: 1 | -1): void {
    const length = prefixLength(key);
    if (nameIn(key) !== undefined) return;
    if (length === addressBits) {
      this.#addressCount += change;
      return;
    }
    this.#rangeCount += change;
    const count = (this.#lengths.get(length) ?? 0) + change;
    if (count === 0) this.#lengths.delete(length);
    else this.#lengths.set(length, count);
  }

  /** Returns the key of the longest range, or narrowest name, that contains another one, or undefined if there is none. */
  parent(key: PeerKey): PeerKey | undefined {
    const name = nameIn(key);
    if (name !== undefined) {
      return widerPatterns(name)
        .map(peerNameKey)
        .find((wider) => this.#has(wider));
    }
    const own = prefixLength(key);
    const lengths = [...this.#lengths.keys()].filter((length) => length < own);
    for (const length of lengths.sort((a, b) => b - a)) {
      const wider = shortened(key, length);
      if (this.#has(wider)) return wider;
    }
    return undefined;
  }

  /**
   * Returns a sentence about the map that has no room for one more entry, or undefined if there is room. `created`:
   * addresses that are not written yet.
   */
  full(key: PeerKey, created: number): string | undefined {
    if (nameIn(key) !== undefined) return this.#names.full();
    const { name, maxEntries } = (isRange(key) ? this.#ranges : this.#addresses).info;
    const used = isRange(key) ? this.#rangeCount : this.#addressCount + created;
    if (used < maxEntries) return undefined;
    const setting = isRange(key) ? 'sizes.policyRanges' : 'sizes.policyPeers';
    return new NoRoom(name, maxEntries, setting).message;
  }

  /** Writes entries; of addresses in one batch. Throws SysError, BatchError. */
  write(writes: readonly PeerWrite[]): void {
    const addresses = writes.filter(({ key }) => !isRange(key));
    if (addresses.length > 0) {
      const keys = new Uint8Array(addresses.length * addressKeySize);
      const values = new Uint32Array(addresses.length);
      addresses.forEach(({ key, vector }, i) => {
        const at = i * addressKeySize;
        for (let j = 0; j < addressKeySize; j++) keys[at + j] = key.charCodeAt(4 + j);
        values[i] = vector;
      });
      this.#addresses.updateBatch(keys, new Uint8Array(values.buffer), addresses.length);
    }
    for (const { key, vector } of writes) {
      const name = nameIn(key);
      if (name !== undefined) this.#names.write(name, vector);
      else if (isRange(key)) this.#ranges.update(bytesOf(key), wordBytes(vector));
    }
  }

  /** Deletes an entry. Throws SysError. */
  delete(key: PeerKey): void {
    const name = nameIn(key);
    if (name !== undefined) this.#names.delete(name);
    else if (!isRange(key)) this.#addresses.delete(bytesOf(key).slice(4));
    else this.#ranges.delete(bytesOf(key));
  }
}

function keyOf(range: Cidr): PeerKey {
  const bytes = new Uint8Array(rangeKeySize);
  encodeRangeKey(range, bytes);
  return keyText(bytes);
}

function bytesOf(key: PeerKey): Uint8Array {
  return Uint8Array.from(key, (character) => character.charCodeAt(0));
}

/** Returns the range of fewer bits that contains one. */
function shortened(key: PeerKey, length: number): PeerKey {
  const bytes = bytesOf(key);
  bytes[0] = length;
  const address = bytes.subarray(4);
  const whole = length >>> 3;
  address.fill(0, whole + (length % 8 === 0 ? 0 : 1));
  if (length % 8 !== 0) address[whole]! &= 0xff << (8 - (length % 8));
  return keyText(bytes);
}
