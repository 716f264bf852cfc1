/** The value of labels in the series that counts what has no series of its own. */
export const otherSeries = 'other';

/**
 * A counter with labels. It has a limited number of series: when they are used up, what would need a new
 * one is counted in a series whose labels after `fixed` are `other`, so sums stay right.
 */
export class Counter {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  readonly #seriesMax: number;
  readonly #fixed: number;
  readonly #values = new Map<string, number>();

  /** The first `fixed` labels have few values. */
  constructor(
    name: string,
    help: string,
    labels: { readonly fixed: readonly string[]; readonly context: readonly string[] },
    seriesMax: number,
  ) {
    this.name = name;
    this.help = help;
    this.labels = [...labels.fixed, ...labels.context];
    this.#fixed = labels.fixed.length;
    this.#seriesMax = seriesMax;
  }

  /** Adds to the series with these values, which are in the order of `labels`. */
  add(values: readonly string[], count = 1): void {
    let key = values.join('\0');
    let before = this.#values.get(key);
    if (before === undefined && this.#values.size >= this.#seriesMax) {
      const fixed = values.slice(0, this.#fixed);
      key = [...fixed, ...values.slice(this.#fixed).map(() => otherSeries)].join('\0');
      before = this.#values.get(key);
    }
    this.#values.set(key, (before ?? 0) + count);
  }

  /** Yields the values of the labels and the count of each series. */
  *series(): Generator<readonly [readonly string[], number]> {
    for (const [key, value] of this.#values) yield [key.split('\0'), value];
  }

  /** Returns the counter in Prometheus' text format. */
  text(): string {
    const name = `hubble_${this.name}`;
    let text = `# HELP ${name} ${this.help}\n# TYPE ${name} counter\n`;
    for (const [values, count] of this.series()) {
      const labels = this.labels.map((label, at) => `${label}="${escaped(values[at]!)}"`).join(',');
      text += `${name}${labels === '' ? '' : `{${labels}}`} ${count}\n`;
    }
    return text;
  }
}

function escaped(value: string): string {
  return value.replace(/[\\"\n]/g, (each) => (each === '\n' ? '\\n' : `\\${each}`));
}
