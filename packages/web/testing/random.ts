/** Returns a function that gives numbers from 0 to below 1, always the same for a seed (xorshift, 32 bits). */
export function seededRandom(seed: number): () => number {
  let state = seed * 2 + 1;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  // The first values of near seeds are near to each other.
  for (let index = 0; index < 8; index++) next();
  return next;
}
