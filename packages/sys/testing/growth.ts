import assert from 'node:assert/strict';

/** The ratio of the sizes of the two inputs. */
const factor = 8;
/** A growth between that of linear work (8) and of quadratic work (64). */
const maxGrowth = 24;
/** The shortest measured time, well above the resolution of the clock. */
const leastMs = 2;
const maxTries = 20;

/** Returns the CPU time of this process in milliseconds, which excludes other processes. */
function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/**
 * Asserts that the CPU time of `work` is at most proportional to the length of its input. Inputs consist of a
 * number of units. Compilation and garbage collection only add to a time, so the smallest of several times
 * is used, and measurements are repeated while the growth seems too large.
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
  // Compiles the code before the measurement.
  for (let i = 0; i < 3; i++) time(small, 1);
  const times = Math.max(factor, Math.ceil(leastMs / Math.max(time(small, 3), 0.000_01)));
  let [least, leastOfLarge] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let i = 0; i < maxTries; i++) {
    least = Math.min(least, time(small, times));
    leastOfLarge = Math.min(leastOfLarge, time(large, Math.max(1, Math.ceil(times / factor))));
    if (i >= 3 && leastOfLarge < maxGrowth * least) return;
  }
  const growth = (leastOfLarge / least).toFixed(1);
  assert.fail(`${what}: ${factor} times the input takes ${growth} times as long`);
}
