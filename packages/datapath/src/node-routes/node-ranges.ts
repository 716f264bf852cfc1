import { familyOf } from '@heddle/objects';
import type { RemoteNode } from '@heddle/routes';
import { parseIp } from '@heddle/sys';
import type { KeyedMap } from '../core/keyed-map.ts';
import { encodeRemoteNode, nodePath, remoteNodeSize } from '../generated/abi.ts';
import { RangeEntries } from './range-map.ts';

/** The map `node_ranges`: other nodes by the ranges of their pods' addresses. */
export class NodeRanges {
  readonly #entries: RangeEntries;
  /** The ranges of each node, by its key. */
  readonly #ranges = new Map<string, readonly string[]>();
  /** The node that has each range: a node may take over the range of one that is yet to be removed. */
  readonly #owners = new Map<string, string>();

  constructor(map: KeyedMap) {
    this.#entries = new RangeEntries(map);
  }

  /** The number of entries. */
  get size(): number {
    return this.#entries.size;
  }

  /** Writes the entries of a node, and deletes those that it no longer has. Throws NoRoom, SysError. */
  set(node: RemoteNode): void {
    const { key } = node;
    const before = this.#ranges.get(key) ?? [];
    const usable = node.ranges.filter((range) => entryOf(node, range) !== undefined);
    // The ranges of before are kept too until all is written, so that none is lost if this throws.
    this.#ranges.set(key, [...new Set([...before, ...usable])]);
    for (const range of usable) {
      this.#entries.set(range, entryOf(node, range)!);
      this.#owners.set(range, key);
    }
    this.#drop(
      key,
      before.filter((range) => !usable.includes(range)),
    );
    this.#ranges.set(key, usable);
  }

  /** Deletes the entries of a node; a missing one is fine. Throws SysError. */
  remove(key: string): void {
    this.#drop(key, this.#ranges.get(key) ?? []);
    this.#ranges.delete(key);
  }

  /** Deletes what an earlier agent has left and no node has. Throws SysError. */
  prune(): void {
    this.#entries.keep(this.#owners.keys());
  }

  #drop(key: string, ranges: readonly string[]): void {
    for (const range of ranges) {
      if (this.#owners.get(range) !== key) continue;
      this.#entries.delete(range);
      this.#owners.delete(range);
    }
  }
}

/** Returns the value of a range of a node, or undefined if no path leads there. */
function entryOf({ addresses, paths }: RemoteNode, range: string): Uint8Array | undefined {
  const found = paths.find(({ family }) => family === familyOf(range));
  if (!found) return undefined;
  const path =
    found.mode === 'direct'
      ? nodePath.direct
      : familyOf(found.via!) === 'IPv4'
        ? nodePath.tunnelIpv4
        : nodePath.tunnelIpv6;
  const value = new Uint8Array(remoteNodeSize);
  encodeRemoteNode({ ...addressFields(addresses), path }, value);
  return value;
}

/** Returns the addresses, at most one of each family, as the programs have them. */
export function addressFields(addresses: readonly string[]): { ipv4: number; ipv6: Uint8Array } {
  const ipv4 = addresses.find((address) => familyOf(address) === 'IPv4');
  const ipv6 = addresses.find((address) => familyOf(address) === 'IPv6');
  const word = ipv4 === undefined ? undefined : parseIp(ipv4)!.slice(12);
  return {
    ipv4: word ? new DataView(word.buffer).getUint32(0) : 0,
    ipv6: ipv6 === undefined ? new Uint8Array(16) : parseIp(ipv6)!,
  };
}
