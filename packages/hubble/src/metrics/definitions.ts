import { isIpv4 } from '@heddle/sys';
import { matchType } from '../flows/message.ts';
import { eventType, type FlowRecord, tcpFlag } from '../flows/record.ts';
import { DropReason, TrafficDirection, Verdict } from '../generated/flow/flow_pb.js';
import type { MetricOptions } from './context.ts';
import { icmpText, pointNames, protocolName, responseCodeText, transportName } from './texts.ts';

/** A counter of a metric. */
export interface CounterDefinition {
  /** The name without the prefix `hubble_`. */
  readonly name: string;
  readonly help: string;
  /** The labels besides those of the context. */
  readonly labels: readonly string[];
  /** Returns the values of the labels for each time that a flow counts. */
  readonly count: (record: FlowRecord) => readonly (readonly string[])[];
}

/** A metric that can be chosen, by its name in Hubble's configuration. */
export interface MetricDefinition {
  /** Options besides those of the context. */
  readonly options: readonly string[];
  /** True if verdicts of policies count; elsewhere the packets that they are about count already. */
  readonly countsVerdicts?: true;
  readonly counters: (options: MetricOptions) => readonly CounterDefinition[];
}

const nothing: readonly (readonly string[])[] = [];

/** All metrics by name. */
export const metricDefinitions: Readonly<Record<string, MetricDefinition>> = {
  flow: { options: [], countsVerdicts: true, counters: () => [flowsProcessed] },
  drop: { options: [], counters: () => [drops] },
  tcp: { options: [], counters: () => [tcpFlags] },
  icmp: { options: [], counters: () => [icmp] },
  'port-distribution': { options: [], counters: () => [ports] },
  policy: { options: [], countsVerdicts: true, counters: () => [policyVerdicts] },
  'flows-to-world': {
    options: ['any-drop', 'port', 'syn-only'],
    counters: (options) => [flowsToWorld(options)],
  },
  dns: { options: ['query', 'ignoreAAAA'], counters: dnsCounters },
};

const flowsProcessed: CounterDefinition = {
  name: 'flows_processed_total',
  help: 'Total number of flows processed',
  labels: ['protocol', 'type', 'subtype', 'verdict'],
  count: (record) => {
    const [type, subtype] = typeNames(record);
    return [[protocolName(record), type, subtype, Verdict[record.verdict]!]];
  },
};

function typeNames(record: FlowRecord): readonly [string, string] {
  switch (record.eventType) {
    case eventType.layer7:
      return ['L7', record.dns ? 'DNS' : ''];
    case eventType.drop:
      return ['Drop', ''];
    case eventType.trace:
      return ['Trace', pointNames[record.observationPoint] ?? ''];
    case eventType.policyVerdict:
      return ['PolicyVerdict', ''];
    default:
      return ['Unknown', String(record.eventType)];
  }
}

const drops: CounterDefinition = {
  name: 'drop_total',
  help: 'Number of drops',
  labels: ['reason', 'protocol'],
  count: (record) =>
    record.verdict === Verdict.DROPPED
      ? [[DropReason[record.dropReason] ?? String(record.dropReason), protocolName(record)]]
      : nothing,
};

const tcpFlags: CounterDefinition = {
  name: 'tcp_flags_total',
  help: 'TCP flag occurrences',
  labels: ['flag', 'family'],
  count: (record) => {
    if (record.verdict !== Verdict.FORWARDED || transportName(record) !== 'TCP') return nothing;
    const flags = record.tcpFlags;
    const names = [
      ...(flags & tcpFlag.FIN ? ['FIN'] : []),
      ...(flags & tcpFlag.SYN ? [flags & tcpFlag.ACK ? 'SYN-ACK' : 'SYN'] : []),
      ...(flags & tcpFlag.RST ? ['RST'] : []),
    ];
    return names.map((name) => [name, isIpv4(record.source) ? 'IPv4' : 'IPv6']);
  },
};

const icmp: CounterDefinition = {
  name: 'icmp_total',
  help: 'Number of ICMP messages',
  labels: ['family', 'type'],
  count: (record) => {
    const name = transportName(record);
    if (name !== 'ICMPv4' && name !== 'ICMPv6') return nothing;
    const isV6 = name === 'ICMPv6';
    const text = icmpText(isV6, record.sourcePort, record.destinationPort);
    return [[isV6 ? 'IPv6' : 'IPv4', text]];
  },
};

const ports: CounterDefinition = {
  name: 'port_distribution_total',
  help: 'Numbers of packets distributed by destination port',
  labels: ['protocol', 'port'],
  count: (record) => {
    const name = transportName(record);
    // The destination port of a reply is the port of a client, and of an unknown direction it may be.
    if (record.verdict !== Verdict.FORWARDED || record.isReply !== false || !name) return nothing;
    return [[name, hasPorts(name) ? String(record.destinationPort) : '0']];
  },
};

function hasPorts(name: string): boolean {
  return name === 'TCP' || name === 'UDP' || name === 'SCTP';
}

const matchNames: Readonly<Record<number, string>> = { 0: 'none', 2: 'l3-l4', 4: 'all' };

const policyVerdicts: CounterDefinition = {
  name: 'policy_verdicts_total',
  help: 'Total number of network policy verdicts',
  labels: ['direction', 'match', 'action'],
  count: (record) => {
    const hostIdentity = 1;
    if (record.eventType !== eventType.policyVerdict) return nothing;
    if (record.sourceParty.endpoint.identity === hostIdentity) return nothing;
    return [
      [
        TrafficDirection[record.direction]!.toLowerCase(),
        matchNames[matchType(record)]!,
        Verdict[record.verdict]!.toLowerCase(),
      ],
    ];
  },
};

function flowsToWorld(options: MetricOptions): CounterDefinition {
  const [anyDrop, withPort, synOnly] = ['any-drop', 'port', 'syn-only'].map((name) =>
    options.has(name),
  );
  return {
    name: 'flows_to_world_total',
    help: 'Total number of flows to reserved:world',
    labels: ['protocol', 'verdict', ...(withPort ? ['port'] : [])],
    count: (record) => {
      const transport = transportName(record);
      const isDropped = record.verdict === Verdict.DROPPED;
      const isSyn = transport === 'TCP' && (record.tcpFlags & tcpFlag.SYN) !== 0;
      const isLeftOut =
        !record.destinationParty.endpoint.labels.includes('reserved:world') ||
        transport === undefined ||
        (isDropped && !anyDrop && record.dropReason !== DropReason.POLICY_DENIED) ||
        (!isDropped && record.isReply === true) ||
        (synOnly && (!isSyn || record.isReply === true));
      if (isLeftOut) return nothing;
      const port = hasPorts(transport) ? String(record.destinationPort) : '';
      const values = [protocolName(record), Verdict[record.verdict]!];
      return [withPort ? [...values, port] : values];
    },
  };
}

function dnsCounters(options: MetricOptions): CounterDefinition[] {
  const withQuery = options.has('query');
  const ignoresAAAA = options.has('ignoreAAAA');
  const query = withQuery ? ['query'] : [];
  const queryOf = (record: FlowRecord) => (withQuery ? [record.dns!.dns.query] : []);
  const labels = ['rcode', 'qtypes', 'ips_returned', ...query];
  const isCounted = ({ dns }: FlowRecord) =>
    dns !== undefined &&
    !(ignoresAAAA && dns.dns.qtypes.length === 1 && dns.dns.qtypes[0] === 'AAAA');
  const values = (record: FlowRecord, code: string) => {
    const { qtypes, ips } = record.dns!.dns;
    return [code, qtypes.join(','), String(ips.length), ...queryOf(record)];
  };
  const isDropped = (record: FlowRecord) => record.verdict === Verdict.DROPPED;
  const isResponse = (record: FlowRecord) => !isDropped(record) && record.dns!.isResponse;
  return [
    {
      name: 'dns_queries_total',
      help: 'Number of DNS queries observed',
      labels,
      count: (record) =>
        !isCounted(record) || isResponse(record)
          ? nothing
          : [values(record, isDropped(record) ? 'Policy denied' : '')],
    },
    {
      name: 'dns_responses_total',
      help: 'Number of DNS responses observed',
      labels,
      count: (record) =>
        isCounted(record) && isResponse(record)
          ? [values(record, responseCodeText(record.dns!.dns.rcode))]
          : nothing,
    },
    {
      name: 'dns_response_types_total',
      help: 'Number of DNS responses observed by the type of their records',
      labels: ['type', 'qtypes', ...query],
      count: (record) =>
        isCounted(record) && isResponse(record)
          ? record.dns!.dns.rrtypes.map((type) => [
              ...[type, record.dns!.dns.qtypes.join(',')],
              ...queryOf(record),
            ])
          : nothing,
    },
  ];
}
