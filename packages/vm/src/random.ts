/**
 * Random numbers that a seed determines: xorshift128 (Marsaglia, 2003), started by the splitmix
 * finalizer, so that seeds next to each other give different sequences. Returns 32 bits at a time.
 */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  const next = () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return mixed ^ (mixed >>> 16);
  };
  let [x, y, z, w] = [next(), next(), next(), next() | 1];
  return () => {
    const t = x ^ (x << 11);
    [x, y, z] = [y, z, w];
    w = w ^ (w >>> 19) ^ t ^ (t >>> 8);
    return w >>> 0;
  };
}
