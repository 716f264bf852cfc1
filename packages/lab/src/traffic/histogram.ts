const stepsPerOctave = 256;
const octaves = 40;

/**
 * Counts durations in buckets of growing width, which are exact to 0.4 % from a nanosecond to 18
 * minutes, in memory of a fixed size.
 */
export class Histogram {
  readonly #counts = new Uint32Array(octaves * stepsPerOctave);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Counts a duration in nanoseconds. */
  add(duration: number): void {
    const exponent = Math.max(0, Math.min(octaves - 1, Math.floor(Math.log2(duration))));
    const step = Math.floor((duration / 2 ** exponent - 1) * stepsPerOctave);
    const bucket = exponent * stepsPerOctave + Math.max(0, Math.min(stepsPerOctave - 1, step));
    this.#counts[bucket] = this.#counts[bucket]! + 1;
    this.#count++;
  }

  merge(other: Histogram): void {
    for (let i = 0; i < this.#counts.length; i++) {
      this.#counts[i] = this.#counts[i]! + other.#counts[i]!;
    }
    this.#count += other.#count;
  }

  /**
   * Returns the duration in nanoseconds that the share `quantile` (0 to 1) of the counted durations
   * does not exceed; undefined when nothing was counted.
   */
  quantile(quantile: number): number | undefined {
    const rank = Math.max(1, Math.ceil(this.#count * quantile));
    let seen = 0;
    for (let bucket = 0; bucket < this.#counts.length; bucket++) {
      seen += this.#counts[bucket]!;
      if (seen >= rank) {
        const exponent = Math.floor(bucket / stepsPerOctave);
        return 2 ** exponent * (1 + ((bucket % stepsPerOctave) + 0.5) / stepsPerOctave);
      }
    }
    return undefined;
  }

  clear(): void {
    this.#counts.fill(0);
    this.#count = 0;
  }
}
