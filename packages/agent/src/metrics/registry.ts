/** The description of a metric; `name` follows the conventions of Prometheus, units included. */
export interface MetricInfo {
  readonly name: string;
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  /** The names of its labels. */
  readonly labels: readonly string[];
}

/** The values of a metric's labels, in order, and its value. */
export type Sample = readonly [labels: readonly string[], value: number];

/** The largest number of series of one metric: the cost of a scrape must not depend on the cluster's size. */
export const maxSeries = 200;

interface Metric {
  readonly info: MetricInfo;
  write(lines: string[]): void;
}

/** A count that only grows, one for each combination of label values. */
export class Counter implements Metric {
  readonly info: MetricInfo;
  readonly #series = new Map<string, { labels: readonly string[]; value: number }>();

  constructor(info: MetricInfo) {
    this.info = info;
    if (info.labels.length === 0) this.add(0);
  }

  add(count: number, ...labels: readonly string[]): void {
    const key = labels.join('\0');
    const series = this.#series.get(key);
    if (series) series.value += count;
    else if (this.#series.size < maxSeries) this.#series.set(key, { labels, value: count });
  }

  write(lines: string[]): void {
    for (const { labels, value } of this.#series.values()) {
      lines.push(sampleLine(this.info.name, this.info.labels, labels, value));
    }
  }
}

/** Counts of observations by size, without labels. */
export class Histogram implements Metric {
  readonly info: MetricInfo;
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #count = 0;
  #sum = 0;

  /** `bounds`: the upper ends of the buckets, rising; a last bucket without an end is added. */
  constructor(info: MetricInfo, bounds: readonly number[]) {
    this.info = info;
    this.#bounds = bounds;
    this.#counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    this.#count++;
    this.#sum += value;
    const bucket = this.#bounds.findIndex((bound) => value <= bound);
    if (bucket >= 0) this.#counts[bucket]!++;
  }

  write(lines: string[]): void {
    const { name } = this.info;
    let below = 0;
    this.#bounds.forEach((bound, i) => {
      below += this.#counts[i]!;
      lines.push(sampleLine(`${name}_bucket`, ['le'], [formatNumber(bound)], below));
    });
    lines.push(sampleLine(`${name}_bucket`, ['le'], ['+Inf'], this.#count));
    lines.push(sampleLine(`${name}_sum`, [], [], this.#sum));
    lines.push(sampleLine(`${name}_count`, [], [], this.#count));
  }
}

/**
 * The metrics of a process, which `render` returns in the text format of Prometheus (version 0.0.4). Sampled
 * metrics are read from `Facts`, which are gathered once for each request.
 */
export class Registry<Facts> {
  readonly #gather: () => Facts;
  readonly #metrics = new Map<string, Metric>();
  #facts: Facts | undefined;

  constructor(gather: () => Facts) {
    this.#gather = gather;
  }

  /** The descriptions of all metrics, in the order of registration. */
  get infos(): readonly MetricInfo[] {
    return Array.from(this.#metrics.values(), ({ info }) => info);
  }

  counter(name: string, help: string, labels: readonly string[] = []): Counter {
    return this.#register(new Counter({ name, kind: 'counter', help, labels }));
  }

  histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    return this.#register(new Histogram({ name, kind: 'histogram', help, labels: [] }, bounds));
  }

  /** Registers a number that is read for each request; it is left out while it is undefined. */
  value(
    kind: 'counter' | 'gauge',
    name: string,
    help: string,
    read: (facts: Facts) => number | undefined,
  ): void {
    this.samples(kind, name, help, [], (facts) => {
      const value = read(facts);
      return value === undefined ? [] : [[[], value]];
    });
  }

  /** Registers numbers that are read for each request; those beyond `maxSeries` are left out. */
  samples(
    kind: 'counter' | 'gauge',
    name: string,
    help: string,
    labels: readonly string[],
    read: (facts: Facts) => Iterable<Sample>,
  ): void {
    this.#register({
      info: { name, kind, help, labels },
      write: (lines) => {
        let left = maxSeries;
        for (const [values, value] of read(this.#facts!)) {
          if (left-- === 0) return;
          lines.push(sampleLine(name, labels, values, value));
        }
      },
    });
  }

  /** Returns all metrics as text. */
  render(): string {
    this.#facts = this.#gather();
    const lines: string[] = [];
    for (const metric of this.#metrics.values()) {
      const { name, help, kind } = metric.info;
      lines.push(`# HELP ${name} ${escaped(help, /[\\\n]/g)}`, `# TYPE ${name} ${kind}`);
      metric.write(lines);
    }
    this.#facts = undefined;
    return `${lines.join('\n')}\n`;
  }

  #register<Kind extends Metric>(metric: Kind): Kind {
    const { name } = metric.info;
    if (this.#metrics.has(name)) throw new Error(`register metric ${name}: there is one already`);
    this.#metrics.set(name, metric);
    return metric;
  }
}

function sampleLine(
  name: string,
  names: readonly string[],
  values: readonly string[],
  value: number,
): string {
  const labels = names.map((label, i) => `${label}="${escaped(values[i] ?? '', /[\\"\n]/g)}"`);
  return `${name}${labels.length === 0 ? '' : `{${labels.join(',')}}`} ${formatNumber(value)}`;
}

function formatNumber(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  if (value === Number.NEGATIVE_INFINITY) return '-Inf';
  return String(value);
}

function escaped(text: string, special: RegExp): string {
  return text.replace(special, (character) => (character === '\n' ? '\\n' : `\\${character}`));
}
