import type { BpfMap } from '@heddle/ebpf';
import { isIpv4, parseIp } from '@heddle/sys';
import { type KeyedMap, keyBytes, keyText, wordBytes, wordOf } from '../core/keyed-map.ts';
import { snatAddressSize } from '../generated/abi.ts';
import type { AddressRoles } from '../services/address-roles.ts';

type NatSourceMap = Pick<BpfMap, 'info' | 'lookup'> & Pick<KeyedMap, 'update' | 'entries'>;

/** Indices of the SNAT addresses that are used where the route to a backend has none. */
export interface DefaultSources {
  readonly ipv4: number;
  readonly ipv6: number;
}

/**
 * The map `nat_sources`: the node's SNAT addresses. Flows have their index, so an address keeps it, also when the node
 * no longer has the address: its flows time out. Index 0 means no address.
 */
export class NatSources {
  readonly #map: NatSourceMap;
  readonly #roles: AddressRoles;
  readonly #indices = new Map<string, number>();
  #current: readonly string[] = [];

  constructor(map: NatSourceMap, roles: AddressRoles) {
    this.#map = map;
    this.#roles = roles;
    for (const [key, value] of map.entries()) {
      if (value.some((byte) => byte !== 0)) this.#indices.set(keyText(value), wordOf(key));
    }
  }

  /**
   * Sets the node's addresses, the preferred ones first. Throws SysError, NoRoom, and RangeError when there are more
   * than the map has room for.
   */
  set(addresses: readonly string[]): DefaultSources {
    const wanted = addresses.map((address) => keyText(parseIp(address)!));
    const room = this.#map.info.maxEntries - 1;
    if (wanted.length > room) {
      throw new RangeError(`take ${wanted.length} node addresses: there is room for ${room}`);
    }
    for (const address of wanted) {
      if (this.#indices.has(address)) continue;
      const index = this.#free(wanted);
      const value = new Uint8Array(snatAddressSize);
      keyBytes(address, value, 0);
      this.#map.update(wordBytes(index), value);
      this.#indices.set(address, index);
    }
    const role = 'node' as const;
    this.#roles.add(wanted.map((address) => ({ address, role })));
    this.#roles.drop(this.#current.map((address) => ({ address, role })));
    this.#current = wanted;
    return { ipv4: this.indexOf(addresses, true), ipv6: this.indexOf(addresses, false) };
  }

  /** Returns the index of the first of these addresses (as text) of a family that the node has; 0: none. */
  indexOf(addresses: readonly string[], isOfIpv4: boolean): number {
    for (const text of addresses) {
      const address = parseIp(text)!;
      const key = keyText(address);
      if (isIpv4(address) !== isOfIpv4 || !this.#current.includes(key)) continue;
      return this.#indices.get(key)!;
    }
    return 0;
  }

  /** Returns the address of an index (16 bytes), or undefined if the index has none. */
  address(index: number): Uint8Array | undefined {
    return index === 0 ? undefined : this.#map.lookup(wordBytes(index));
  }

  #free(wanted: readonly string[]): number {
    const taken = new Set(this.#indices.values());
    for (let index = 1; index < this.#map.info.maxEntries; index++) {
      if (!taken.has(index)) return index;
    }
    const [oldest, index] = [...this.#indices].find(([address]) => !wanted.includes(address))!;
    this.#indices.delete(oldest);
    return index;
  }
}
