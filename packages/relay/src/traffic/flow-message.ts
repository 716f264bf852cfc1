import { create } from '@bufbuild/protobuf';
import { timestampOf } from '@heddle/hubble';
import {
  type Flow,
  FlowSchema,
  FlowType,
  type GetFlowsResponse,
  GetFlowsResponseSchema,
  IPVersion,
  type Layer4,
  PolicySchema,
  TrafficDirection,
} from '@heddle/hubble/messages';
import type { RuleRef } from '@heddle/web/contract';
import type { RelayFlow } from './model.ts';

/** Returns a kept flow as an answer to GetFlows, with the fields that the relay keeps. */
export function responseOf(flow: RelayFlow): GetFlowsResponse {
  const message = flowMessageOf(flow);
  return create(GetFlowsResponseSchema, {
    responseTypes: { case: 'flow', value: message },
    nodeName: message.nodeName,
    ...(message.time ? { time: message.time } : {}),
  });
}

function flowMessageOf(flow: RelayFlow): Flow {
  const { isReply, flow: facts, service, rules } = flow;
  const [source, destination] = isReply ? [flow.to, flow.from] : [flow.from, flow.to];
  const [namespace, name] = service.split('/');
  const own = service === '' ? {} : { namespace: namespace!, name: name! };
  return create(FlowSchema, {
    ...{ time: timestampOf(flow.time), uuid: flow.uuid, verdict: flow.hubbleVerdict },
    ...{ dropReason: flow.reason, dropReasonDesc: flow.reason, nodeName: facts.node },
    IP: {
      ...{ source: source.address ?? '', destination: destination.address ?? '' },
      ipVersion: source.address?.includes(':') ? IPVersion.IPv6 : IPVersion.IPv4,
    },
    ...layer4(flow),
    ...(source.endpoint ? { source: source.endpoint } : {}),
    ...(destination.endpoint ? { destination: destination.endpoint } : {}),
    sourceNames: [...(source.hosts ?? [])],
    destinationNames: [...(destination.hosts ?? [])],
    Type: facts.dns === undefined && !facts.http ? FlowType.L3_L4 : FlowType.L7,
    ...(facts.dns === undefined
      ? {}
      : { l7: { record: { case: 'dns' as const, value: { query: facts.dns } } } }),
    ...{ isReply, reply: isReply, trafficDirection: directions[facts.direction ?? ''] ?? 0 },
    ...(service === '' ? {} : isReply ? { sourceService: own } : { destinationService: own }),
    ...policiesOf(rules),
  });
}

const directions: Readonly<Record<string, TrafficDirection>> = {
  ingress: TrafficDirection.INGRESS,
  egress: TrafficDirection.EGRESS,
};

function layer4({ protocol, port, fromPort, isReply, flow: { flags } }: RelayFlow): {
  l4?: Layer4;
} {
  const [sourcePort, destinationPort] = isReply ? [port, fromPort] : [fromPort, port];
  const has = (bit: number) => (flags & bit) !== 0;
  const bits = {
    ...{ FIN: has(0x01), SYN: has(0x02), RST: has(0x04), PSH: has(0x08), ACK: has(0x10) },
    ...{ URG: has(0x20), ECE: has(0x40), CWR: has(0x80), NS: has(0x100) },
  };
  const value = { sourcePort, destinationPort };
  const l4 = (protocol: Layer4['protocol']): { l4: Layer4 } => ({
    l4: { $typeName: 'flow.Layer4', protocol },
  });
  switch (protocol) {
    case 6:
      return l4({
        case: 'TCP',
        value: { $typeName: 'flow.TCP', ...value, flags: { $typeName: 'flow.TCPFlags', ...bits } },
      });
    case 17:
      return l4({ case: 'UDP', value: { $typeName: 'flow.UDP', ...value } });
    case 132:
      return l4({ case: 'SCTP', value: { $typeName: 'flow.SCTP', ...value } });
    default:
      return {};
  }
}

function policiesOf(rules: readonly RuleRef[]) {
  const of = (direction: RuleRef['direction'], relations: readonly RuleRef['relation'][]) =>
    rules
      .filter((rule) => rule.direction === direction && relations.includes(rule.relation))
      .map(({ policy }) => create(PolicySchema, policy));
  return {
    ingressAllowedBy: of('ingress', ['allowed']),
    egressAllowedBy: of('egress', ['allowed']),
    ingressDeniedBy: of('ingress', ['denied', 'isolates']),
    egressDeniedBy: of('egress', ['denied', 'isolates']),
  };
}
