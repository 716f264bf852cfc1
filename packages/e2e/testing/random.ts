import { Random } from '@heddle/vm/internal';

/**
 * Returns the random choices of the test `name`. The environment variable HEDDLE_SEED (a number)
 * changes them, and repeats the choices of a failed run.
 */
export function randomOf(name: string): Random {
  let seed = Number(process.env.HEDDLE_SEED ?? 1);
  for (const character of name) seed = Math.imul(seed, 31) + character.charCodeAt(0);
  return new Random(seed);
}
