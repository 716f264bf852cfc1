import type { BpfMap } from '@heddle/ebpf';
import { isIpv4, parseIp } from '@heddle/sys';
import { type KeyedMap, keyBytes, keyText } from '../core/store.ts';
import { snatAddressSize } from '../generated/abi.ts';
import type { AddressRoles } from '../services/address-roles.ts';

type NatSourceMap = Pick<BpfMap, 'info' | 'lookup'> & Pick<KeyedMap, 'update' | 'entries'>;

/** Indices that are used where the route to a backend doesn't tell the address. */
export interface DefaultSources {
  readonly ipv4: number;
  readonly ipv6: number;
}

/**
 * The node's addresses in `nat_sources`. Flows name them by index, so an address keeps its index, also
 * after it is gone from the node: its flows end by themselves. Index 0 stands for no address.
 */
export class NatSources {
  private readonly map: NatSourceMap;
  private readonly roles: AddressRoles;
  private readonly indices = new Map<string, number>();
  private current: readonly string[] = [];

  constructor(map: NatSourceMap, roles: AddressRoles) {
    this.map = map;
    this.roles = roles;
    for (const [key, value] of map.entries()) {
      if (value.some((byte) => byte !== 0)) this.indices.set(keyText(value), indexOf(key));
    }
  }

  /**
   * Takes the addresses that the node has now, the preferred ones first. Throws SysError, and
   * RangeError when there are more than the kernel half knows.
   */
  set(addresses: readonly string[]): DefaultSources {
    const wanted = addresses.map((address) => keyText(parseIp(address)!));
    const room = this.map.info.maxEntries - 1;
    if (wanted.length > room) {
      throw new RangeError(`take ${wanted.length} node addresses: there is room for ${room}`);
    }
    for (const address of wanted) {
      if (this.indices.has(address)) continue;
      const index = this.free(wanted);
      const value = new Uint8Array(snatAddressSize);
      keyBytes(address, value, 0);
      this.map.update(word(index), value);
      this.indices.set(address, index);
    }
    const role = 'node' as const;
    this.roles.add(wanted.map((address) => ({ address, role })));
    this.roles.drop(this.current.map((address) => ({ address, role })));
    this.current = wanted;
    return { ipv4: this.indexOf(addresses, true), ipv6: this.indexOf(addresses, false) };
  }

  /** Index of the first of these addresses (as text) of a family that the node has; 0: none. */
  indexOf(addresses: readonly string[], isOfIpv4: boolean): number {
    for (const text of addresses) {
      const address = parseIp(text)!;
      const key = keyText(address);
      if (isIpv4(address) !== isOfIpv4 || !this.current.includes(key)) continue;
      return this.indices.get(key)!;
    }
    return 0;
  }

  /** The address of an index, as bytes. */
  address(index: number): Uint8Array | undefined {
    return index === 0 ? undefined : this.map.lookup(word(index));
  }

  private free(wanted: readonly string[]): number {
    const taken = new Set(this.indices.values());
    for (let index = 1; index < this.map.info.maxEntries; index++) {
      if (!taken.has(index)) return index;
    }
    const [oldest, index] = [...this.indices].find(([address]) => !wanted.includes(address))!;
    this.indices.delete(oldest);
    return index;
  }
}

const word = (value: number) => new Uint8Array(new Uint32Array([value]).buffer);
const indexOf = (key: Uint8Array) => new DataView(key.buffer, key.byteOffset).getUint32(0, true);
