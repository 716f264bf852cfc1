import { formatIp } from '@heddle/sys';
import type { FlowRecord, Party } from '../flows/record.ts';
import { TrafficDirection } from '../generated/flow/flow_pb.js';

/** A setting of metrics that cannot be used. The message names the metric and the option. */
export class MetricsError extends Error {
  override readonly name = 'MetricsError';
}

/** Options of a metric, as in `dns:query;sourceContext=pod`. An option without a value has an empty one. */
export type MetricOptions = ReadonlyMap<string, string>;

type Side = 'source' | 'destination';
type Identify = (party: Party, record: FlowRecord, side: Side) => string;

/** The ways in which the labels `source` and `destination` can name an end. */
const identifiers: Readonly<Record<string, Identify>> = {
  identity: ({ endpoint }) => endpoint.labels.join(','),
  namespace: ({ endpoint }) => endpoint.namespace,
  pod: ({ endpoint }) => inNamespace(endpoint.namespace, endpoint.podName),
  'pod-name': ({ endpoint }) => endpoint.podName,
  dns: ({ names }) => names.join(','),
  ip: (_party, record, side) => formatIp(record[side]),
  'reserved-identity': ({ endpoint }) => reservedLabel(endpoint.labels),
  workload: ({ endpoint }) => inNamespace(endpoint.namespace, endpoint.workloads[0]?.name ?? ''),
  'workload-name': ({ endpoint }) => endpoint.workloads[0]?.name ?? '',
  app: ({ endpoint }) => appOf(endpoint.labels),
};

/** The labels of `labelsContext`, in the order in which metrics have them. */
const contextLabels = ['source', 'destination'].flatMap((side) =>
  ['ip', 'pod', 'namespace', 'workload', 'workload_kind', 'app'].map((what) => `${side}_${what}`),
);
const directionLabel = 'traffic_direction';

/** The options that every metric has. */
export const contextOptions = [
  ...['sourceContext', 'sourceEgressContext', 'sourceIngressContext'],
  ...['destinationContext', 'destinationEgressContext', 'destinationIngressContext'],
  'labelsContext',
];

/** The labels about the ends of a flow that a metric has, by its options. */
export class LabelContext {
  readonly names: readonly string[];
  readonly #values: readonly ((record: FlowRecord) => string)[];

  /** `metric` is named in errors. Throws MetricsError for a value that does not exist. */
  constructor(metric: string, options: MetricOptions) {
    const columns = [
      ...labelColumns(metric, options.get('labelsContext')),
      ...sideColumns(metric, options, 'source'),
      ...sideColumns(metric, options, 'destination'),
    ];
    this.names = columns.map(([name]) => name);
    this.#values = columns.map(([, value]) => value);
  }

  /** Returns the values of the labels in the order of `names`. */
  values(record: FlowRecord): string[] {
    return this.#values.map((value) => value(record));
  }
}

type Column = readonly [string, (record: FlowRecord) => string];

function labelColumns(metric: string, list: string | undefined): Column[] {
  if (list === undefined) return [];
  const wanted = list.split(',').map((name) => name.trim());
  const known = [...contextLabels, directionLabel];
  for (const name of wanted) {
    if (known.includes(name)) continue;
    throw new MetricsError(
      `metric ${metric}: labelsContext has "${name}", which is no label (${known.join(', ')})`,
    );
  }
  return known.filter((name) => wanted.includes(name)).map((name) => [name, labelValue(name)]);
}

function labelValue(name: string): (record: FlowRecord) => string {
  if (name === directionLabel) {
    return ({ direction }) =>
      direction === TrafficDirection.TRAFFIC_DIRECTION_UNKNOWN
        ? 'unknown'
        : TrafficDirection[direction]!.toLowerCase();
  }
  const side = name.startsWith('source') ? 'source' : 'destination';
  const what = name.slice(side.length + 1);
  const partyOf = partyOn(side);
  if (what === 'workload_kind') {
    return (record) => partyOf(record).endpoint.workloads[0]?.kind ?? '';
  }
  const identifier = { pod: 'pod-name', workload: 'workload-name' }[what] ?? what;
  const identify = identifiers[identifier]!;
  return (record) => identify(partyOf(record), record, side);
}

function sideColumns(metric: string, options: MetricOptions, side: Side): Column[] {
  const compile = (option: string) => {
    const value = options.get(option);
    return value === undefined ? undefined : context(metric, option, value, side);
  };
  const both = compile(`${side}Context`);
  const egress = compile(`${side}EgressContext`) ?? both;
  const ingress = compile(`${side}IngressContext`) ?? both;
  if (!egress && !ingress) return [];
  return [
    [
      side,
      (record) => {
        switch (record.direction) {
          case TrafficDirection.EGRESS:
            return egress?.(record) ?? '';
          case TrafficDirection.INGRESS:
            return ingress?.(record) ?? '';
          default:
            return both?.(record) ?? '';
        }
      },
    ],
  ];
}

/** Compiles `A|B`: the first identifier that has a value. */
function context(metric: string, option: string, value: string, side: Side) {
  const list = value.split('|').map((name) => {
    if (Object.hasOwn(identifiers, name)) return identifiers[name]!;
    const known = Object.keys(identifiers).join(', ');
    throw new MetricsError(`metric ${metric}: ${option} has "${name}", which is none of: ${known}`);
  });
  const partyOf = partyOn(side);
  return (record: FlowRecord): string => {
    const party = partyOf(record);
    for (const identify of list) {
      const text = identify(party, record, side);
      if (text !== '') return text;
    }
    return '';
  };
}

function partyOn(side: Side): (record: FlowRecord) => Party {
  return side === 'source' ? (record) => record.sourceParty : (record) => record.destinationParty;
}

function inNamespace(namespace: string, name: string): string {
  return namespace === '' || name === '' ? name : `${namespace}/${name}`;
}

function reservedLabel(labels: readonly string[]): string {
  const apiserver = 'reserved:kube-apiserver';
  if (labels.includes(apiserver)) return apiserver;
  return labels.find((label) => label.startsWith('reserved:')) ?? '';
}

/** The labels that name an application, the recommended one first. */
const appLabels = ['k8s:app.kubernetes.io/name=', 'k8s:k8s-app=', 'k8s:app='];

function appOf(labels: readonly string[]): string {
  for (const label of labels) {
    const prefix = appLabels.find((each) => label.startsWith(each));
    if (prefix !== undefined && label.length > prefix.length) return label.slice(prefix.length);
  }
  return '';
}
