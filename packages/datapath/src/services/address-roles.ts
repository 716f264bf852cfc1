import { SysError } from '@heddle/sys';
import { type KeyedMap, keyBytes, keyText, MapFull } from '../core/store.ts';
import { addressKeySize, addressRole } from '../generated/abi.ts';
import type { AddressFilter } from './address-filter.ts';

type Role = keyof typeof addressRole;

/** Of addresses that packets from a device may be served at; see destination_role in bpf/lb/frontend.h. */
const servedRoles = addressRole.service | addressRole.external | addressRole.node;
const roleNames = Object.keys(addressRole) as Role[];

/** One use of an address (16 bytes as text, see keyText) by a row. */
export interface AddressUse {
  readonly address: string;
  readonly role: Role;
}

/**
 * The `addresses` map: what an address is known as, whatever the port. Rows share addresses, so
 * uses are counted, and the kernel has the sum of their roles.
 */
export class AddressRoles {
  private readonly map: KeyedMap;
  private readonly filter: AddressFilter;
  private readonly uses = new Map<string, Record<Role, number>>();
  /** What the kernel holds. */
  private readonly inForce = new Map<string, number>();
  /** Found at the start: before the source is complete, one without a use may yet get one. */
  private readonly spared = new Set<string>();

  constructor(map: KeyedMap, filter: AddressFilter) {
    this.map = map;
    this.filter = filter;
    for (const [key, value] of map.entries()) {
      if (value[0]! & servedRoles) filter.add(key);
      this.inForce.set(keyText(key), value[0]!);
      this.spared.add(keyText(key));
    }
  }

  get size(): number {
    return this.inForce.size;
  }

  /** True when an address (16 bytes as text) is known as a ClusterIP. */
  isService(address: string): boolean {
    return ((this.inForce.get(address) ?? 0) & addressRole.service) !== 0;
  }

  /** Counts uses and writes the roles that are new. Throws MapFull, and then has counted nothing. */
  add(added: readonly AddressUse[]): void {
    this.count(added, 1);
    try {
      this.write(added.map((use) => use.address));
    } catch (error) {
      this.count(added, -1);
      this.write(added.map((use) => use.address));
      if (error instanceof SysError && error.code === 'E2BIG') {
        throw new MapFull(
          'addresses',
          this.map.info.maxEntries,
          'sizes.services or sizes.backends',
        );
      }
      throw error;
    }
  }

  drop(dropped: readonly AddressUse[]): void {
    this.count(dropped, -1);
    this.write(dropped.map((use) => use.address));
  }

  /** All rows are known: removes what a previous agent left for others. */
  prune(): void {
    const found = [...this.spared];
    this.spared.clear();
    this.write(found);
  }

  private count(uses: readonly AddressUse[], change: 1 | -1): void {
    for (const { address, role } of uses) {
      const counts = this.uses.get(address) ?? {
        ...{ service: 0, udpBackend: 0, node: 0, external: 0, peer: 0 },
      };
      counts[role] += change;
      if (rolesOf(counts) === 0) this.uses.delete(address);
      else this.uses.set(address, counts);
    }
  }

  private write(addresses: readonly string[]): void {
    const changed: { address: string; roles: number }[] = [];
    const key = new Uint8Array(addressKeySize);
    for (const address of new Set(addresses)) {
      const counts = this.uses.get(address);
      const roles = counts ? rolesOf(counts) : 0;
      const current = this.inForce.get(address) ?? 0;
      const spared = this.spared.has(address);
      if (roles === current || (spared && (roles & current) === roles)) continue;
      if (roles === 0) {
        keyBytes(address, key, 0);
        this.map.delete(key);
        this.inForce.delete(address);
      } else {
        changed.push({ address, roles: spared ? roles | current : roles });
      }
    }
    if (changed.length === 0) return;
    const keys = new Uint8Array(changed.length * addressKeySize);
    const values = new Uint8Array(changed.length * 4);
    changed.forEach(({ address, roles }, i) => {
      keyBytes(address, keys, i * addressKeySize);
      if (roles & servedRoles) this.filter.add(keys.subarray(i * addressKeySize));
      values[i * 4] = roles;
    });
    this.map.updateBatch(keys, values, changed.length);
    for (const { address, roles } of changed) this.inForce.set(address, roles);
  }
}

function rolesOf(counts: Readonly<Record<Role, number>>): number {
  let roles = 0;
  for (const role of roleNames) if (counts[role] > 0) roles |= addressRole[role];
  return roles;
}
