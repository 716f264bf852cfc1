import { isMapName, type MapName, mapCatalog } from '@heddle/datapath';
import { BPF_F_RDONLY_PROG, mapTypes } from '@heddle/ebpf';
import type { Machine } from '@heddle/vm';
import {
  CopiedMap,
  createMap,
  ForkedMap,
  SwappedMap,
  smallChunk,
  type VmMap,
} from '@heddle/vm/internal';

// Nodes whose services are the same share one set of maps, and each has a view of it:
//  - maps that only the control plane writes are shared,
//  - values that programs write are copied when a program first reads them,
//  - tables that programs fill are separate for each node.

/** Maps whose keys start with an address, which can be the node's own. */
const addressed: ReadonlySet<string> = new Set<MapName>(['services', 'addresses']);
/** Tables of programs that are empty at the start of a node. */
const own: ReadonlySet<string> = new Set<MapName>(['affinity', 'fragments']);
/** Returns true for a map that is the same on all nodes with the same services. */
function isShared(name: string): boolean {
  return isMapName(name) && mapCatalog[name].writer === 'agent' && !mapCatalog[name].isOfNode;
}
/**
 * Map types without views: nothing reads ring buffers, and storage belongs to a socket, which is on
 * one node.
 */
const unforked: ReadonlySet<number> = new Set([mapTypes.ringbuf, mapTypes.sk_storage]);

/** Wraps a map so that nodes can have views of it. Constants need none. */
export function wrapMap(machine: Machine, map: VmMap): VmMap {
  const { options } = map;
  const { name, type, flags } = options;
  if (name.startsWith('.') || unforked.has(type)) return map;
  if (!isShared(name)) return new ForkedMap(machine, map);
  // A program's write to a shared map would affect all nodes, so it faults.
  map.dispose();
  const readOnly = { ...options, flags: flags | BPF_F_RDONLY_PROG };
  return new ForkedMap(
    machine,
    createMap(machine, readOnly, () => undefined),
    options,
  );
}

/** Pairs of an address in the shared maps and the node's own address that replaces it. */
export type AddressSwaps = readonly (readonly [Uint8Array, Uint8Array])[];

/** Returns a node's view of a map. */
export function viewOf(machine: Machine, map: ForkedMap, swaps: AddressSwaps): VmMap {
  const { name } = map.options;
  const inner = isShared(name)
    ? map.original
    : own.has(name)
      ? createMap(machine, map.options, () => undefined, smallChunk)
      : new CopiedMap(machine, map);
  return addressed.has(name) && swaps.length > 0
    ? new SwappedMap(machine, inner, swaps, inner !== map.original)
    : inner;
}
