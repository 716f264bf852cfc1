import assert from 'node:assert/strict';

/** The factor by which the larger input is larger. */
const factor = 8;
/** Between the growth of linear work (8) and of quadratic work (64). */
const mostGrowth = 24;
/** So that the clock's steps do not count. */
const leastMs = 2;
const mostTries = 20;

/** Milliseconds that this process has had a processor: what others do on the machine does not count. */
function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/**
 * Asserts that the processor's time that `work` takes grows with the length of its input and not faster.
 * Inputs are made of a number of units. Compiling and collecting garbage only add to a time, so the least of
 * several times counts, and further times are taken for as long as the growth seems too great.
 */
export function assertLinear<Input>(
  what: string,
  units: number,
  make: (units: number) => Input,
  work: (input: Input) => void,
): void {
  const time = (input: Input, times: number) => {
    const start = processorMs();
    for (let i = 0; i < times; i++) work(input);
    return (processorMs() - start) / times;
  };
  const [small, large] = [make(units), make(factor * units)];
  // The compiler of the engine works now and not later.
  for (let i = 0; i < 3; i++) time(small, 1);
  const times = Math.max(factor, Math.ceil(leastMs / Math.max(time(small, 3), 0.000_01)));
  let [least, leastOfLarge] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let i = 0; i < mostTries; i++) {
    least = Math.min(least, time(small, times));
    leastOfLarge = Math.min(leastOfLarge, time(large, Math.max(1, Math.ceil(times / factor))));
    if (i >= 3 && leastOfLarge < mostGrowth * least) return;
  }
  const growth = (leastOfLarge / least).toFixed(1);
  assert.fail(`${what}: ${factor} times the input takes ${growth} times as long`);
}
