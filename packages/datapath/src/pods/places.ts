/**
 * The places of a table with open addressing that BPF programs read. A key may lie in `probes` places, `step` apart;
 * so the programs' search ends soon, and a key may find no room although the table has some.
 */
export interface PlaceRule {
  /** The number of places, a power of 2. */
  readonly places: number;
  readonly step: number;
}

/** The number of places that an entry may lie in: POD_PROBES in bpf/abi/pod.h. */
export const probes = 4;

/** Returns the places of a key, in the order of the search, by the number that the key begins at. */
export function placesOf(first: number, { places, step }: PlaceRule): number[] {
  const found: number[] = [];
  for (let i = 0; i < probes; i++) found.push(((first + i * step) & (places - 1)) >>> 0);
  return found;
}

/**
 * Returns the place for an entry: the one that has its key, else the first free one of `candidates`, or undefined.
 * A search passes removed entries and ends at a place that never had one, so it finds the entry there.
 */
export function placeFor(
  candidates: readonly number[],
  hasKey: (place: number) => boolean,
  isFree: (place: number) => boolean,
): number | undefined {
  return candidates.find((place) => !isFree(place) && hasKey(place)) ?? candidates.find(isFree);
}

/** Returns the number that the search for an address of 16 bytes begins at, as pod_place() in bpf/pod/local.h. */
export function firstOfAddress(address: Uint8Array, isIpv4: boolean): number {
  const [a, b, c, d] = [address[12]!, address[13]!, address[14]!, address[15]!];
  const word = (a << 24) | (b << 16) | (c << 8) | d;
  return ((word << 1) | (isIpv4 ? 0 : 1)) >>> 0;
}
