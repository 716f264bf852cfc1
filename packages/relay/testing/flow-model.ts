import { millisecondsOf } from '@heddle/hubble';
import {
  type Flow,
  type HeddleDetail,
  type Layer4,
  type Layer7,
  type Policy,
  PolicyDecision_Relation,
  type TCPFlags,
  TraceReason,
  TrafficDirection,
  Verdict,
} from '@heddle/hubble/messages';
import type { LinkVerdict, RuleRef } from '@heddle/web/contract';
import { refusalReasons } from '@heddle/web/filter';
import type { EndTable } from '../src/traffic/ends.ts';
import type { RelayFlow } from '../src/traffic/model.ts';

const noRules: readonly RuleRef[] = [];
const rulesMax = 16;

/** Returns a message that the library has decoded as the relay keeps it: the model of FlowReader. */
export function readFlowByLibrary(
  flow: Flow,
  node: string,
  arrived: number,
  ends: EndTable,
): RelayFlow {
  const isReply = flow.isReply === true;
  const { IP, l4, heddle } = flow;
  const source = ends.end(flow.source, IP?.source ?? '', flow.sourceNames.slice(0, 4), node);
  const destination = ends.end(
    flow.destination,
    IP?.destination ?? '',
    flow.destinationNames,
    node,
  );
  const { protocol, sourcePort, destinationPort, flags } = layer4(l4);
  const service = isReply ? flow.sourceService : flow.destinationService;
  const verdict = verdictOf(flow);
  const direction = directionOf(flow.trafficDirection);
  return {
    from: isReply ? destination : source,
    to: isReply ? source : destination,
    service: service && service.name !== '' ? `${service.namespace}/${service.name}` : '',
    protocol,
    port: isReply ? sourcePort : destinationPort,
    fromPort: isReply ? destinationPort : sourcePort,
    verdict,
    reason: verdict === 'forwarded' ? 0 : flow.dropReasonDesc,
    rules: rulesOf(flow, heddle, direction),
    firstSeen: 0,
    flow: { direction, flags, node, dns: undefined, http: undefined, ...layer7(flow.l7) },
    eventType: flow.eventType?.type ?? 0,
    time: flow.time ? millisecondsOf(flow.time) : arrived,
    uuid: flow.uuid,
    hubbleVerdict: flow.verdict,
    isReply,
    isNew: !isReply && flow.traceReason === TraceReason.NEW,
    bytes: Number(heddle?.bytes ?? 0n),
    packets: Number(heddle?.packets ?? 0n),
  };
}

function verdictOf({ verdict, dropReasonDesc }: Flow): LinkVerdict {
  switch (verdict) {
    case Verdict.DROPPED:
      return refusalReasons.includes(dropReasonDesc) ? 'refused' : 'dropped';
    case Verdict.ERROR:
      return 'refused';
    case Verdict.AUDIT:
      return 'audit';
    default:
      return 'forwarded';
  }
}

function directionOf(direction: TrafficDirection): 'ingress' | 'egress' | undefined {
  if (direction === TrafficDirection.INGRESS) return 'ingress';
  return direction === TrafficDirection.EGRESS ? 'egress' : undefined;
}

const noLayer4 = { protocol: 0, sourcePort: 0, destinationPort: 0, flags: 0 };

function layer4(l4: Layer4 | undefined) {
  switch (l4?.protocol.case) {
    case 'TCP': {
      const { sourcePort, destinationPort, flags } = l4.protocol.value;
      return { protocol: 6, sourcePort, destinationPort, flags: flags ? bitsOf(flags) : 0 };
    }
    case 'UDP':
      return { ...noLayer4, ...ports(l4.protocol.value), protocol: 17 };
    case 'SCTP':
      return { ...noLayer4, ...ports(l4.protocol.value), protocol: 132 };
    case 'ICMPv4':
      return { ...noLayer4, protocol: 1 };
    case 'ICMPv6':
      return { ...noLayer4, protocol: 58 };
    case 'IGMP':
      return { ...noLayer4, protocol: 2 };
    case 'VRRP':
      return { ...noLayer4, protocol: 112 };
    default:
      return noLayer4;
  }
}

function ports({ sourcePort, destinationPort }: { sourcePort: number; destinationPort: number }) {
  return { sourcePort, destinationPort };
}

function bitsOf({ FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, NS }: TCPFlags): number {
  return (
    (FIN ? 0x01 : 0) |
    (SYN ? 0x02 : 0) |
    (RST ? 0x04 : 0) |
    (PSH ? 0x08 : 0) |
    (ACK ? 0x10 : 0) |
    (URG ? 0x20 : 0) |
    (ECE ? 0x40 : 0) |
    (CWR ? 0x80 : 0) |
    (NS ? 0x100 : 0)
  );
}

const noLayer7: { dns?: string; http?: { path: string; method: string; code: number } } = {};

function layer7(l7: Layer7 | undefined) {
  switch (l7?.record.case) {
    case 'dns':
      return { dns: l7.record.value.query.slice(0, 253) };
    case 'http': {
      const { url, method, code } = l7.record.value;
      const path = url.replace(/^[a-z][-+.a-z0-9]*:\/\/[^/]*/i, '').replace(/\?.*$/s, '');
      return { http: { path: path.slice(0, 1000), method: method.slice(0, 32), code } };
    }
    default:
      return noLayer7;
  }
}

const relations: Readonly<Record<number, RuleRef['relation']>> = {
  [PolicyDecision_Relation.ISOLATES]: 'isolates',
  [PolicyDecision_Relation.NEAREST]: 'nearest',
};

/** Returns the rules that decided: those in Heddle's own field, or the policies of Hubble's fields. */
function rulesOf(
  flow: Flow,
  heddle: HeddleDetail | undefined,
  direction: 'ingress' | 'egress' | undefined,
): readonly RuleRef[] {
  if (heddle && heddle.decisions.length > 0) {
    return heddle.decisions.slice(0, rulesMax).flatMap((decision): RuleRef[] => {
      const { policy, rule, verdict, relation } = decision;
      if (!policy) return [];
      return [
        {
          policy: policyRef(policy),
          ...(rule === 0 ? {} : { rule }),
          direction: directionOf(decision.direction) ?? direction ?? 'ingress',
          relation: relations[relation] ?? (verdict === Verdict.DROPPED ? 'denied' : 'allowed'),
        },
      ];
    });
  }
  const { ingressAllowedBy, egressAllowedBy, ingressDeniedBy, egressDeniedBy } = flow;
  const count =
    ingressAllowedBy.length +
    egressAllowedBy.length +
    ingressDeniedBy.length +
    egressDeniedBy.length;
  if (count === 0) return noRules;
  const refs = (
    policies: readonly Policy[],
    own: 'ingress' | 'egress',
    relation: RuleRef['relation'],
  ) => policies.map((policy): RuleRef => ({ policy: policyRef(policy), direction: own, relation }));
  return [
    ...refs(ingressAllowedBy, 'ingress', 'allowed'),
    ...refs(egressAllowedBy, 'egress', 'allowed'),
    ...refs(ingressDeniedBy, 'ingress', 'denied'),
    ...refs(egressDeniedBy, 'egress', 'denied'),
  ].slice(0, rulesMax);
}

function policyRef({ kind, namespace, name }: Policy): RuleRef['policy'] {
  return { kind: kind || 'NetworkPolicy', namespace, name };
}
