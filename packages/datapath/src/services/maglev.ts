/** A backend of the lookup table: its name, which is the same on every node, and its share. */
export interface MaglevBackend {
  /** Unique text, e.g. `10.244.1.3:8080`. */
  readonly name: string;
  /** Relative share, 1 or more. */
  readonly weight: number;
}

/** The sizes that a table can have: primes. */
const sizes = [251, 1021, 4093, 16381, 65521, 131071];

/**
 * Returns the size of the lookup table for so many backends: the smallest of the primes with 100 entries or
 * more for each backend, which keeps shares within 1 % of each other (Eisenbud et al., "Maglev",
 * NSDI 2016, section 3.4), or the largest.
 */
export function maglevSize(backends: number): number {
  return sizes.find((size) => size >= backends * 100) ?? sizes.at(-1)!;
}

/**
 * Returns the lookup table of Maglev hashing: for each entry the index of a backend. The same backends give the same
 * table in any order; removing one changes few of the other entries. `size` is a prime. The table is empty without
 * backends.
 */
export function maglevTable(backends: readonly MaglevBackend[], size: number): Uint32Array {
  if (backends.length === 0) return new Uint32Array(0);
  const order = backends.map((_, index) => index);
  order.sort((a, b) => (backends[a]!.name < backends[b]!.name ? -1 : 1));
  const walks = order.map((index) => {
    const { name, weight } = backends[index]!;
    return {
      index,
      next: hash(name, 0x811c9dc5) % size,
      skip: (hash(name, 0x9747b28c) % (size - 1)) + 1,
      weight,
      turns: 0,
    };
  });
  const heaviest = Math.max(...walks.map((walk) => walk.weight));
  const free = 0xffffffff;
  const table = new Uint32Array(size).fill(free);
  for (let filled = 0; ; ) {
    for (const walk of walks) {
      // In each round a backend gets a turn with the frequency of its weight.
      walk.turns += walk.weight;
      if (walk.turns < heaviest) continue;
      walk.turns -= heaviest;
      while (table[walk.next] !== free) walk.next = (walk.next + walk.skip) % size;
      table[walk.next] = walk.index;
      if (++filled === size) return table;
    }
  }
}

/** FNV-1a with the finalizer of MurmurHash3, so that similar names have unrelated permutations. */
function hash(text: string, seed: number): number {
  let value = seed;
  for (let i = 0; i < text.length; i++) {
    value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  }
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
