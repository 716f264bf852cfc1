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

// Nodes whose services are the same have one set of maps, and each a view of it:
//  - what only the control plane writes they share,
//  - what programs write into is copied value by value, when a program first asks for it,
//  - tables that programs fill are each node's own.

/** Maps whose keys or first keys' bytes are addresses among which are the node's own. */
const addressed: ReadonlySet<string> = new Set<MapName>(['services', 'addresses']);
/** Tables of programs that are empty at the start of a node. */
const own: ReadonlySet<string> = new Set<MapName>(['affinity', 'fragments']);
/** Returns true for a map that is the same on all nodes with the same services. */
function isShared(name: string): boolean {
  return isMapName(name) && mapCatalog[name].writer === 'agent' && !mapCatalog[name].isOfNode;
}
/** Rings are read by nobody, and sockets' storage belongs to sockets, of which each is on one node. */
const wholes: ReadonlySet<number> = new Set([mapTypes.ringbuf, mapTypes.sk_storage]);

/** Gives nodes views of a map; constants need none. */
export function wrapMap(machine: Machine, map: VmMap): VmMap {
  const { options } = map;
  const { name, type, flags } = options;
  if (name.startsWith('.') || wholes.has(type)) return map;
  if (!isShared(name)) return new ForkedMap(machine, map);
  // A program that writes into what nodes share would be one node's doing at all of them: it faults.
  map.dispose();
  const readOnly = { ...options, flags: flags | BPF_F_RDONLY_PROG };
  return new ForkedMap(
    machine,
    createMap(machine, readOnly, () => undefined),
    options,
  );
}

/** Pairs of addresses: the one that the maps have, and the one that the node has in its place. */
export type Swaps = readonly (readonly [Uint8Array, Uint8Array])[];

/** A node's view of a map. */
export function viewOf(machine: Machine, map: ForkedMap, swaps: Swaps): VmMap {
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
