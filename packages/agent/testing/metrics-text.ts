// A strict reader of Prometheus' text format, version 0.0.4: what a scraper might pass over, it refuses.

export interface MetricFamily {
  readonly name: string;
  readonly kind: string;
  readonly help: string;
  /** Values by name and labels as they stand in the text, e.g. `heddle_rows{state="done"}`. */
  readonly samples: ReadonlyMap<string, number>;
}

const metricName = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const helpLine = new RegExp(`^# HELP (${metricName}) ((?:[^\\\\\\n]|\\\\\\\\|\\\\n)+)$`);
const typeLine = new RegExp(`^# TYPE (${metricName}) (counter|gauge|histogram)$`);
const labelPair = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\\\\\|\\\\"|\\\\n)*"';
const sampleLine = new RegExp(
  `^((${metricName})(?:\\{(${labelPair}(?:,${labelPair})*)\\})?) (\\+Inf|-Inf|NaN|-?\\d+(?:\\.\\d+)?(?:e[+-]?\\d+)?)$`,
);

/** Reads all families by name. Throws an Error that names the line. */
export function parseMetrics(text: string): Map<string, MetricFamily> {
  const families = new Map<string, MetricFamily & { readonly samples: Map<string, number> }>();
  let help: RegExpExecArray | null = null;
  let current: (MetricFamily & { readonly samples: Map<string, number> }) | undefined;
  const fail = (line: string, why: string): never => {
    throw new Error(`read metrics: ${why}: ${line}`);
  };
  if (!text.endsWith('\n')) fail(text.slice(-50), 'the last line has no end');
  for (const line of text.slice(0, -1).split('\n')) {
    if (line.startsWith('# HELP')) {
      if (help) fail(line, 'the help before it has no type');
      help = helpLine.exec(line) ?? fail(line, 'no help line');
    } else if (line.startsWith('#')) {
      const [, name, kind] = typeLine.exec(line) ?? fail(line, 'no type line');
      if (help?.[1] !== name) fail(line, 'the type does not follow its help');
      if (families.has(name!)) fail(line, 'the family is there twice');
      current = { name: name!, kind: kind!, help: help![2]!, samples: new Map() };
      families.set(name!, current);
      help = null;
    } else {
      const [, key, name, labels, value] = sampleLine.exec(line) ?? fail(line, 'no sample');
      if (!current || help) return fail(line, 'the sample belongs to no family');
      const names = (labels?.match(/[a-zA-Z_][a-zA-Z0-9_]*(?==")/g) ?? []) as string[];
      if (new Set(names).size < names.length) fail(line, 'a label is there twice');
      const base = current.kind === 'histogram' ? name!.replace(/_(bucket|sum|count)$/, '') : name;
      if (base !== current.name) fail(line, `the sample is none of ${current.name}`);
      if (current.samples.has(key!)) fail(line, 'the sample is there twice');
      const number = value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value);
      if (current.kind === 'counter' && !(number >= 0)) fail(line, 'a counter below zero');
      current.samples.set(key!, number);
    }
  }
  if (help) fail(help[0], 'the help has no type');
  for (const family of families.values()) {
    if (family.kind === 'histogram') checkHistogram(family, fail);
    if (family.kind === 'counter' && !family.name.endsWith('_total')) {
      fail(family.name, 'a counter ends in _total');
    }
  }
  return families;
}

/** Buckets rise to +Inf, which is the count. */
function checkHistogram(
  { name, samples }: MetricFamily,
  fail: (line: string, why: string) => never,
): void {
  let bound = Number.NEGATIVE_INFINITY;
  let below = 0;
  for (const [key, value] of samples) {
    const [, le] = /_bucket\{le="([^"]+)"\}$/.exec(key) ?? [];
    if (le === undefined) continue;
    const next = le === '+Inf' ? Number.POSITIVE_INFINITY : Number(le);
    if (!(next > bound) || value < below) fail(key, 'buckets that do not rise');
    bound = next;
    below = value;
  }
  if (bound !== Number.POSITIVE_INFINITY) fail(name, 'no bucket without an end');
  if (samples.get(`${name}_count`) !== below) fail(name, 'a count that is not the last bucket');
  if (!samples.has(`${name}_sum`)) fail(name, 'no sum');
}
