import { isIpv4, parseCidr, parseIp } from '@heddle/sys';

/** An address or a range in the form of a key: the bits of its prefix, as one character for each byte. */
function keyOf(bytes: Uint8Array, prefixLength: number): string {
  const whole = prefixLength >> 3;
  const text = String.fromCharCode.apply(
    undefined,
    bytes.subarray(0, whole) as unknown as number[],
  );
  const rest = prefixLength & 7;
  return rest === 0 ? text : text + String.fromCharCode(bytes[whole]! & (0xff << (8 - rest)));
}

/**
 * Values by range of addresses. It finds the longest range with an address, and whether a range
 * overlaps another one. Ranges in practice have few lengths, and a search takes one step for each of them.
 * All texts are canonical.
 */
export class RangeMap<Value> {
  /** The values by the key of their range, by length of the prefix. */
  readonly #byLength = new Map<number, Map<string, Value>>();
  #lengths: readonly number[] = [];

  /** Sets the value of a range. */
  set(range: string, value: Value): void {
    const { address, prefixLength } = parseCidr(range)!;
    let values = this.#byLength.get(prefixLength);
    if (!values) {
      values = new Map();
      this.#byLength.set(prefixLength, values);
      this.#lengths = [...this.#byLength.keys()].sort((a, b) => b - a);
    }
    values.set(keyOf(address, prefixLength), value);
  }

  /** Returns the value of the longest range that has an address. */
  find(address: string): Value | undefined {
    return this.#findAt(parseIp(address)!, 128);
  }

  /** Returns the value of a range that has all addresses of this one. */
  findAround(range: string): Value | undefined {
    const { address, prefixLength } = parseCidr(range)!;
    return this.#findAt(address, prefixLength);
  }

  #findAt(bytes: Uint8Array, longest: number): Value | undefined {
    for (const length of this.#lengths) {
      // An IPv4 address is no part of a range of IPv6 addresses, whatever its bytes.
      if (length > longest || (length < 96 && isIpv4(bytes))) continue;
      const value = this.#byLength.get(length)!.get(keyOf(bytes, length));
      if (value !== undefined) return value;
    }
    return undefined;
  }
}

/**
 * Ranges and their owners. It finds a range that overlaps another one, if that is one of the
 * `candidates`.
 */
export class RangeOwners {
  readonly #owners = new RangeMap<string>();
  /** The owners of ranges, by the ranges' beginnings in each length that a candidate's prefix has. */
  readonly #inside = new Map<string, Set<string>>();
  readonly #lengths: readonly number[];

  constructor(candidates: Iterable<string>) {
    const lengths = Array.from(candidates, (range) => parseCidr(range)!.prefixLength);
    this.#lengths = [...new Set(lengths)];
  }

  /** Adds a range. */
  add(range: string, owner: string): void {
    const { address, prefixLength } = parseCidr(range)!;
    this.#owners.set(range, owner);
    for (const length of this.#lengths) {
      if (length > prefixLength || (length < 96 && isIpv4(address))) continue;
      const key = beginning(address, length);
      const owners = this.#inside.get(key);
      if (owners) owners.add(owner);
      else this.#inside.set(key, new Set([owner]));
    }
  }

  /** Returns the owner of a range that overlaps the candidate, but is not of `except`. */
  overlapping(candidate: string, except?: string): string | undefined {
    const { address, prefixLength } = parseCidr(candidate)!;
    for (const owner of this.#inside.get(beginning(address, prefixLength)) ?? []) {
      if (owner !== except) return owner;
    }
    const around = this.#owners.findAround(candidate);
    return around === except ? undefined : around;
  }
}

function beginning(address: Uint8Array, length: number): string {
  return `${length} ${keyOf(address, length)}`;
}
