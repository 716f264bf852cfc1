import { SysError } from '@heddle/sys';
import { type KeyedMap, keyBytes, keyText, NoRoom } from '../core/keyed-map.ts';
import { addressKeySize, addressRole } from '../generated/abi.ts';
import type { AddressFilter } from './address-filter.ts';

type Role = keyof typeof addressRole;

/** The roles of addresses that packets at network interfaces are load balanced for; see destination_role in bpf/lb/frontend.h. */
const servedRoles = addressRole.service | addressRole.external | addressRole.node;
const roleNames = Object.keys(addressRole) as Role[];

/** One use of an address (16 bytes as text, see keyText) by a row or the node. */
export interface AddressUse {
  readonly address: string;
  readonly role: Role;
}

const noUses: Readonly<Record<Role, number>> = {
  service: 0,
  udpBackend: 0,
  node: 0,
  external: 0,
  peer: 0,
  otherNode: 0,
};

/**
 * The map `addresses`: the roles of an address, whatever the port. Rows share addresses, so uses are counted, and the
 * map has the union of their roles.
 */
export class AddressRoles {
  readonly #map: KeyedMap;
  readonly #filter: AddressFilter;
  readonly #uses = new Map<string, Record<Role, number>>();
  /** The roles that the map has. */
  readonly #programmed = new Map<string, number>();
  /** Addresses that an earlier agent programmed: until all objects are known, one without a use may get one. */
  readonly #inherited = new Set<string>();

  constructor(map: KeyedMap, filter: AddressFilter) {
    this.#map = map;
    this.#filter = filter;
    for (const [key, value] of map.entries()) {
      if (value[0]! & servedRoles) filter.add(key);
      this.#programmed.set(keyText(key), value[0]!);
      this.#inherited.add(keyText(key));
    }
  }

  get size(): number {
    return this.#programmed.size;
  }

  /** Returns true when an address (16 bytes as text) has the role of a ClusterIP. */
  isService(address: string): boolean {
    return ((this.#programmed.get(address) ?? 0) & addressRole.service) !== 0;
  }

  /** Counts uses and writes new roles. Throws NoRoom, SysError; then nothing is counted. */
  add(added: readonly AddressUse[]): void {
    this.#count(added, 1);
    try {
      this.#write(added.map((use) => use.address));
    } catch (error) {
      this.#count(added, -1);
      this.#write(added.map((use) => use.address));
      if (error instanceof SysError && error.code === 'E2BIG') {
        throw new NoRoom(
          'addresses',
          this.#map.info.maxEntries,
          'sizes.services or sizes.backends',
        );
      }
      throw error;
    }
  }

  /** Ends uses and writes the roles that are left. Throws SysError. */
  drop(dropped: readonly AddressUse[]): void {
    this.#count(dropped, -1);
    this.#write(dropped.map((use) => use.address));
  }

  /** Removes the roles that an earlier agent programmed and that have no use. Throws SysError. */
  prune(): void {
    const found = [...this.#inherited];
    this.#inherited.clear();
    this.#write(found);
  }

  #count(uses: readonly AddressUse[], change: 1 | -1): void {
    for (const { address, role } of uses) {
      const counts = this.#uses.get(address) ?? { ...noUses };
      counts[role] += change;
      if (rolesOf(counts) === 0) this.#uses.delete(address);
      else this.#uses.set(address, counts);
    }
  }

  #write(addresses: readonly string[]): void {
    const changed: { address: string; roles: number }[] = [];
    const key = new Uint8Array(addressKeySize);
    for (const address of new Set(addresses)) {
      const counts = this.#uses.get(address);
      const roles = counts ? rolesOf(counts) : 0;
      const current = this.#programmed.get(address) ?? 0;
      const isInherited = this.#inherited.has(address);
      if (roles === current || (isInherited && (roles & current) === roles)) continue;
      if (roles === 0) {
        keyBytes(address, key, 0);
        this.#map.delete(key);
        this.#programmed.delete(address);
      } else {
        changed.push({ address, roles: isInherited ? roles | current : roles });
      }
    }
    if (changed.length === 0) return;
    const keys = new Uint8Array(changed.length * addressKeySize);
    const values = new Uint8Array(changed.length * 4);
    changed.forEach(({ address, roles }, i) => {
      keyBytes(address, keys, i * addressKeySize);
      if (roles & servedRoles) this.#filter.add(keys.subarray(i * addressKeySize));
      values[i * 4] = roles;
    });
    this.#map.updateBatch(keys, values, changed.length);
    for (const { address, roles } of changed) this.#programmed.set(address, roles);
  }
}

function rolesOf(counts: Readonly<Record<Role, number>>): number {
  let roles = 0;
  for (const role of roleNames) if (counts[role] > 0) roles |= addressRole[role];
  return roles;
}
