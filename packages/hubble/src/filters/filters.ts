import {
  type Endpoint,
  type Flow,
  type FlowFilter,
  type HTTP,
  type TCPFlags,
  Verdict,
} from '../generated/flow/flow_pb.js';
import { anyExpression } from './cel.ts';
import { FilterError } from './errors.ts';
import { labelSelector, parseLabel } from './label-selector.ts';
import { anyDnsName, anyNodeName, anyRegex } from './patterns.ts';
import { anyAddress, anyName, anyStatus, portNumbers } from './values.ts';

/** Returns true for a flow that matches. */
export type FlowMatch = (flow: Flow) => boolean;

/** The most filters in one list. More are refused: each flow is compared with all of them. */
const filtersMax = 1000;

/**
 * Compiles the lists of a request. A flow matches if no filter of `denied`, and one of `allowed` or none
 * at all, matches it. Throws FilterError.
 */
export function flowMatch(
  allowed: readonly FlowFilter[],
  denied: readonly FlowFilter[],
): FlowMatch {
  const [allow, deny] = [compileList('whitelist', allowed), compileList('blacklist', denied)];
  if (allow.length === 0 && deny.length === 0) return () => true;
  return (flow) =>
    (allow.length === 0 || allow.some((filter) => filter(flow))) &&
    !deny.some((filter) => filter(flow));
}

function compileList(list: string, filters: readonly FlowFilter[]): FlowMatch[] {
  if (filters.length > filtersMax) {
    throw new FilterError(
      list,
      `it has ${filters.length} filters; at most ${filtersMax} are allowed`,
    );
  }
  return filters.map(compileFilter);
}

/** Compiles one filter: all fields that have values must match. Throws FilterError. */
export function compileFilter(filter: FlowFilter): FlowMatch {
  const parts = [
    ...packetParts(filter),
    ...endpointParts(filter),
    ...nameParts(filter),
    ...httpParts(filter),
  ];
  return (flow) => parts.every((part) => part(flow));
}

/** Returns the match of a field, or nothing if the filter has no values for it. */
function part<T>(
  values: readonly T[] | undefined,
  compile: (values: readonly T[]) => FlowMatch,
): FlowMatch[] {
  return values === undefined || values.length === 0 ? [] : [compile(values)];
}

/** Returns the match of a field with one of these values. */
function oneOf<T>(values: readonly T[], fieldOf: (flow: Flow) => T | undefined): FlowMatch[] {
  return part(values, (wanted) => {
    const set = new Set<T | undefined>(wanted);
    return (flow) => set.has(fieldOf(flow));
  });
}

function packetParts(filter: FlowFilter): FlowMatch[] {
  return [
    ...oneOf(filter.uuid, (flow) => flow.uuid),
    ...part(filter.eventType, (types) => ({ eventType: event }) => {
      if (event === undefined) return false;
      return types.some(
        ({ type, matchSubType, subType }) =>
          (type === 0 || type === event.type) && (!matchSubType || subType === event.subType),
      );
    }),
    ...oneOf(filter.verdict, (flow) => flow.verdict),
    ...oneOf(filter.dropReasonDesc, (flow) =>
      flow.verdict === Verdict.DROPPED ? flow.dropReasonDesc : undefined,
    ),
    // Of dropped flows the direction may be unknown. Hubble's user interface asks for drops that are no
    // replies, and means those.
    ...oneOf(filter.reply, ({ isReply, verdict }) =>
      isReply === undefined && verdict !== Verdict.DROPPED ? undefined : (isReply ?? false),
    ),
    ...oneOf(filter.encrypted, (flow) => flow.IP?.encrypted ?? false),
    ...oneOf(filter.trafficDirection, (flow) => flow.trafficDirection),
    ...oneOf(filter.ipVersion, (flow) => flow.IP?.ipVersion ?? 0),
    ...oneOf(filter.traceId, (flow) => flow.traceContext?.parent?.traceId ?? ''),
    ...oneOf(filter.ipTraceId, (flow) => flow.ipTraceId?.traceId ?? 0n),
    ...part(filter.protocol, protocolMatch),
    ...portPart('source_port', filter.sourcePort, 'sourcePort'),
    ...portPart('destination_port', filter.destinationPort, 'destinationPort'),
    ...part(filter.tcpFlags, (flags) => ({ l4 }) => {
      const own = l4?.protocol.case === 'TCP' ? l4.protocol.value.flags : undefined;
      return own !== undefined && flags.some((wanted) => hasFlags(own, wanted));
    }),
    ...part(filter.interface, (interfaces) => ({ interface: own }) => {
      if (own === undefined) return false;
      return interfaces.some(
        ({ index, name }) =>
          (index === 0 || index === own.index) && (name === '' || name === own.name),
      );
    }),
    ...part(filter.experimental?.celExpression, (expressions) =>
      anyExpression('experimental.cel_expression', expressions),
    ),
  ];
}

const flagNames = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR', 'NS'] as const;

function hasFlags(own: TCPFlags, wanted: TCPFlags): boolean {
  return flagNames.every((name) => !wanted[name] || own[name]);
}

/** The protocols that a filter can name, and the cases of the messages that they mean. */
const protocols: Readonly<Record<string, readonly string[]>> = {
  icmp: ['ICMPv4', 'ICMPv6'],
  icmpv4: ['ICMPv4'],
  icmpv6: ['ICMPv6'],
  tcp: ['TCP'],
  udp: ['UDP'],
  sctp: ['SCTP'],
  vrrp: ['VRRP'],
  igmp: ['IGMP'],
  dns: ['dns'],
  http: ['http'],
  kafka: ['kafka'],
};

function protocolMatch(values: readonly string[]): FlowMatch {
  const cases = new Set<string | undefined>();
  for (const value of values) {
    const name = value.toLowerCase();
    if (!Object.hasOwn(protocols, name)) {
      const known = Object.keys(protocols).join(', ');
      throw new FilterError('protocol', `"${value}" is no known protocol (${known})`);
    }
    for (const each of protocols[name]!) cases.add(each);
  }
  return ({ l4, l7 }) => cases.has(l4?.protocol.case) || cases.has(l7?.record.case);
}

function portPart(
  field: string,
  values: readonly string[],
  side: 'sourcePort' | 'destinationPort',
): FlowMatch[] {
  return part(values, (texts) => {
    const ports = portNumbers(field, texts);
    return ({ l4 }) => {
      const protocol = l4?.protocol;
      switch (protocol?.case) {
        case 'TCP':
        case 'UDP':
        case 'SCTP':
          return ports.has(protocol.value[side]);
        default:
          return false;
      }
    };
  });
}

function endpointParts(filter: FlowFilter): FlowMatch[] {
  return [
    ...sideParts('source', filter.sourceIdentity, filter.sourceWorkload, filter.sourceClusterName),
    ...sideParts(
      'destination',
      ...([filter.destinationIdentity, filter.destinationWorkload] as const),
      filter.destinationClusterName,
    ),
    ...addressPart('source_ip', filter.sourceIp, (flow) => flow.IP?.source),
    ...addressPart('destination_ip', filter.destinationIp, (flow) => flow.IP?.destination),
    ...addressPart('source_ip_xlated', filter.sourceIpXlated, (flow) => flow.IP?.sourceXlated),
    ...labelPart('source_label', filter.sourceLabel, (flow) => flow.source?.labels),
    ...labelPart('destination_label', filter.destinationLabel, (flow) => flow.destination?.labels),
    ...labelPart('node_labels', filter.nodeLabels, (flow) => flow.nodeLabels),
  ];
}

function sideParts(
  side: 'source' | 'destination',
  identities: readonly number[],
  workloads: FlowFilter['sourceWorkload'],
  clusters: readonly string[],
): FlowMatch[] {
  return [
    ...oneOf(identities, (flow) => flow[side]?.identity),
    ...part(
      workloads,
      (wanted) => (flow) =>
        (flow[side]?.workloads ?? []).some((own) =>
          wanted.some(
            ({ name, kind }) =>
              (name === '' || name === own.name) && (kind === '' || kind === own.kind),
          ),
        ),
    ),
    ...part(clusters, (names) => {
      if (names.includes('')) throw new FilterError(`${side}_cluster_name`, 'a name is empty');
      return (flow) => names.includes(flow[side]?.clusterName ?? '');
    }),
  ];
}

function addressPart(
  field: string,
  values: readonly string[],
  addressOf: (flow: Flow) => string | undefined,
): FlowMatch[] {
  return part(values, (texts) => {
    const matches = anyAddress(field, texts);
    return (flow) => matches(addressOf(flow) ?? '');
  });
}

function labelPart(
  field: string,
  values: readonly string[],
  labelsOf: (flow: Flow) => readonly string[] | undefined,
): FlowMatch[] {
  return part(values, (texts) => {
    const selectors = texts.map((text) => labelSelector(field, text));
    return (flow) => {
      const labels = (labelsOf(flow) ?? []).map(parseLabel);
      return selectors.some((selector) => selector(labels));
    };
  });
}

function nameParts(filter: FlowFilter): FlowMatch[] {
  const pod = (
    field: string,
    values: readonly string[],
    end: (flow: Flow) => Endpoint | undefined,
  ) =>
    part(values, (names) => {
      const matches = anyName(field, names);
      return (flow) => matches(end(flow)?.namespace ?? '', end(flow)?.podName ?? '');
    });
  const service = (field: string, values: readonly string[], side: 'source' | 'destination') =>
    part(values, (names) => {
      const matches = anyName(field, names);
      return (flow) => {
        const own = side === 'source' ? flow.sourceService : flow.destinationService;
        return matches(own?.namespace ?? '', own?.name ?? '');
      };
    });
  return [
    ...pod('source_pod', filter.sourcePod, (flow) => flow.source),
    ...pod('destination_pod', filter.destinationPod, (flow) => flow.destination),
    ...service('source_service', filter.sourceService, 'source'),
    ...service('destination_service', filter.destinationService, 'destination'),
    ...part(filter.sourceFqdn, (patterns) => {
      const matches = anyDnsName('source_fqdn', patterns);
      return (flow) => flow.sourceNames.some(matches);
    }),
    ...part(filter.destinationFqdn, (patterns) => {
      const matches = anyDnsName('destination_fqdn', patterns);
      return (flow) => flow.destinationNames.some(matches);
    }),
    ...part(filter.dnsQuery, (expressions) => {
      const matches = anyRegex('dns_query', expressions);
      return ({ l7 }) => l7?.record.case === 'dns' && matches(l7.record.value.query);
    }),
    ...part(filter.nodeName, (patterns) => {
      const matches = anyNodeName('node_name', patterns);
      return (flow) => matches(flow.nodeName);
    }),
  ];
}

/** The type of events about protocols above TCP and UDP. */
const layer7Event = 129;

function httpParts(filter: FlowFilter): FlowMatch[] {
  const http = <T>(
    field: string,
    values: readonly T[],
    compile: (values: readonly T[]) => (http: HTTP) => boolean,
  ): FlowMatch[] =>
    part(values, (given) => {
      const types = filter.eventType;
      if (types.length > 0 && !types.some(({ type }) => type === layer7Event)) {
        throw new FilterError(field, 'the filter event_type must have the type l7, or no value');
      }
      const matches = compile(given);
      return ({ l7 }) => l7?.record.case === 'http' && matches(l7.record.value);
    });
  return [
    ...http('http_status_code', filter.httpStatusCode, (values) => {
      const matches = anyStatus('http_status_code', values);
      return ({ code }) => matches(code);
    }),
    ...http('http_method', filter.httpMethod, (values) => {
      const methods = new Set(values.map((value) => value.toUpperCase()));
      return ({ method }) => method !== '' && methods.has(method.toUpperCase());
    }),
    ...http('http_path', filter.httpPath, (values) => {
      const matches = anyRegex('http_path', values);
      return ({ url }) => {
        const path = pathOf(url);
        return path !== undefined && matches(path);
      };
    }),
    ...http('http_url', filter.httpUrl, (values) => {
      const matches = anyRegex('http_url', values);
      return ({ url }) => url !== '' && matches(url);
    }),
    ...http(
      'http_header',
      filter.httpHeader,
      (values) =>
        ({ headers }) =>
          headers.some((own) =>
            values.some(({ key, value }) => key === own.key && value === own.value),
          ),
    ),
  ];
}

/** Returns the path of an absolute URL or of a path with a query, or undefined if it is neither. */
function pathOf(url: string): string | undefined {
  const whole = url.startsWith('/') ? `http://host${url}` : url;
  if (!/^[a-z][-+.a-z0-9]*:\/\//i.test(whole) || !URL.canParse(whole)) return undefined;
  const parsed = new URL(whole);
  try {
    return decodeURIComponent(parsed.pathname);
  } catch {
    // The path has bytes that are no UTF-8 text, so it is compared as it is written.
    return parsed.pathname;
  }
}
