import {
  type Bpf,
  type BpfMap,
  type LoadedObject,
  loadObject,
  type ObjectSpec,
  resizeMap,
} from '@heddle/ebpf';

/**
 * Loads an object with those of `maps` that it has, in the sizes that they have. The objects of the
 * datapath share their maps, and none of them has all. `programs` are the names of those wanted;
 * the default is all. Throws as `loadObject` does.
 */
export function loadShared(
  bpf: Bpf,
  spec: ObjectSpec,
  maps: Readonly<Record<string, BpfMap>>,
  programs?: readonly string[],
): LoadedObject {
  const shared = Object.entries(maps).filter(([name]) => spec.maps.has(name));
  const sized = shared.reduce(
    (into, [name, { info }]) => resizeMap(into, name, info.maxEntries),
    spec,
  );
  return loadObject(bpf, sized, {
    maps: Object.fromEntries(shared),
    ...(programs && { programs }),
  });
}
