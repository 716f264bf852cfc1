import { eventType, type FlowRecord } from '../flows/record.ts';
import type { Loss } from '../flows/ring.ts';
import { LostEventSource } from '../generated/flow/flow_pb.js';
import { contextOptions, LabelContext, MetricsError } from './context.ts';
import { Counter } from './counters.ts';
import { type CounterDefinition, metricDefinitions } from './definitions.ts';

/** The most series of one counter. */
const seriesMax = 10_000;

interface Counting {
  readonly counter: Counter;
  readonly context: LabelContext;
  readonly count: CounterDefinition['count'];
  readonly countsVerdicts: boolean;
}

/**
 * Counters of flows with the names, labels and options of Hubble's metrics. A record counts once, however
 * many packets it stands for.
 */
export class FlowMetrics {
  readonly #countings: readonly Counting[];
  readonly #losses = new Counter(
    'lost_events_total',
    'Number of lost events',
    { fixed: ['source'], context: [] },
    seriesMax,
  );

  /**
   * Each setting is the name of a metric and its options, as in Hubble's configuration:
   * `dns:query;labelsContext=source_namespace,destination_namespace`. Throws MetricsError that names the
   * setting.
   */
  constructor(settings: readonly string[]) {
    const chosen = new Set<string>();
    this.#countings = settings.flatMap((setting) => {
      const [name, options] = readSetting(setting);
      if (chosen.has(name)) throw new MetricsError(`metric ${name}: it is there twice`);
      chosen.add(name);
      const definition = metricDefinitions[name]!;
      const context = new LabelContext(name, options);
      return definition.counters(options).map((each) => ({
        ...{ context, count: each.count, countsVerdicts: definition.countsVerdicts ?? false },
        counter: new Counter(
          ...[each.name, each.help],
          ...([{ fixed: each.labels, context: context.names }, seriesMax] as const),
        ),
      }));
    });
  }

  /** Counts a flow. */
  add(record: FlowRecord): void {
    const isVerdict = record.eventType === eventType.policyVerdict;
    for (const { counter, context, count, countsVerdicts } of this.#countings) {
      if (isVerdict && !countsVerdicts) continue;
      const times = count(record);
      if (times.length === 0) continue;
      const labels = context.values(record);
      for (const values of times) counter.add([...values, ...labels]);
    }
  }

  /** Counts a gap. */
  lose({ source, count }: Loss): void {
    this.#losses.add([(LostEventSource[source] ?? 'unknown').toLowerCase()], count);
  }

  /** Returns all counters in Prometheus' text format. */
  text(): string {
    return [...this.#countings.map(({ counter }) => counter), this.#losses]
      .map((counter) => counter.text())
      .join('');
  }
}

function readSetting(setting: string): [string, Map<string, string>] {
  const colon = setting.indexOf(':');
  const name = colon < 0 ? setting : setting.slice(0, colon);
  if (!Object.hasOwn(metricDefinitions, name)) {
    const known = Object.keys(metricDefinitions).join(', ');
    const why = /^(http|httpV2|kafka|sctp)$/.test(name)
      ? 'Heddle does not observe this protocol'
      : 'there is no such metric';
    throw new MetricsError(`metric ${name}: ${why}; choose from ${known}`);
  }
  const known = [...metricDefinitions[name]!.options, ...contextOptions];
  const options = new Map<string, string>();
  for (const text of colon < 0 ? [] : setting.slice(colon + 1).split(';')) {
    if (text === '') continue;
    const equals = text.indexOf('=');
    const written = equals < 0 ? text : text.slice(0, equals);
    const option = known.find((each) => each.toLowerCase() === written.toLowerCase());
    if (option === undefined) {
      throw new MetricsError(
        `metric ${name}: there is no option "${written}" (${known.join(', ')})`,
      );
    }
    options.set(option, equals < 0 ? '' : text.slice(equals + 1));
  }
  return [name, options];
}
