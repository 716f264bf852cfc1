import { millisecondsOf } from '@heddle/hubble';
import {
  DropReason,
  type Endpoint,
  type Flow,
  type Policy,
  type PolicyDecision,
  PolicyDecision_Relation,
  TraceObservationPoint,
  TrafficDirection,
  Verdict,
} from '@heddle/hubble/messages';
import { styled } from '../print.ts';
import { printable } from '../printable.ts';
import { endpoint } from './service.ts';

const colours: Readonly<Partial<Record<Verdict, 'green' | 'red' | 'yellow'>>> = {
  [Verdict.FORWARDED]: 'green',
  [Verdict.DROPPED]: 'red',
  [Verdict.AUDIT]: 'yellow',
};

/** The types of events, by their numbers. */
const events: Readonly<Record<number, string>> = { 1: 'drop', 5: 'policy-verdict', 129: 'dns' };

/** Returns a flow as one line: time, verdict, both ends, protocol, event, and the reason of the verdict. */
export function flowLine(flow: Flow): string {
  const { IP, source, destination, sourceNames, destinationNames, verdict } = flow;
  const [sourcePort, destinationPort] = portsOf(flow);
  // Names, those of name servers among them, come from others and must not begin a line of their own.
  const time = flow.time ? new Date(millisecondsOf(flow.time)).toISOString() : '-';
  const from = endText(source, sourceNames, IP?.source ?? '', sourcePort);
  const to = endText(destination, destinationNames, IP?.destination ?? '', destinationPort);
  const shown = styled(colours[verdict] ?? 'dim', nameOf(Verdict, verdict).padEnd(9));
  const more = [protocolText(flow), eventText(flow), whyText(flow)].filter((each) => each !== '');
  const text = `${from} ${flow.isReply ? '<' : '-'}> ${to}  ${more.join('  ')}`;
  return `${time}  ${shown}  ${printable(text)}`;
}

/** Returns the name of a value, or its number: an observer of a later version may have further values. */
function nameOf(values: Readonly<Record<number, string>>, value: number): string {
  return values[value] ?? String(value);
}

/** Returns a pod by its name, and another end by its address with a DNS name or its reserved label. */
function endText(
  end: Endpoint | undefined,
  names: readonly string[],
  address: string,
  port: number,
): string {
  if (end?.podName) return `${end.namespace}/${end.podName}${port === 0 ? '' : `:${port}`}`;
  const place = port === 0 ? address : endpoint({ address, port });
  const reserved = end?.labels.find((label) => label.startsWith('reserved:'));
  const name = names[0] ?? reserved?.slice('reserved:'.length);
  return name === undefined ? place : `${place} (${name})`;
}

function portsOf({ l4 }: Flow): readonly [number, number] {
  const { case: kind, value } = l4?.protocol ?? {};
  if (kind !== 'TCP' && kind !== 'UDP' && kind !== 'SCTP') return [0, 0];
  return [value!.sourcePort, value!.destinationPort];
}

function protocolText({ l4 }: Flow): string {
  const protocol = l4?.protocol;
  if (protocol?.case !== 'TCP') return protocol?.case ?? '';
  const { flags } = protocol.value;
  const names = (['SYN', 'ACK', 'FIN', 'RST'] as const).filter((name) => flags?.[name]);
  return ['TCP', ...names].join(' ');
}

function eventText({ eventType, trafficDirection, traceObservationPoint }: Flow): string {
  const name = events[eventType?.type ?? 0];
  if (name === 'policy-verdict') {
    return `${name} ${nameOf(TrafficDirection, trafficDirection).toLowerCase()}`;
  }
  if (name !== undefined) return name;
  const point = nameOf(TraceObservationPoint, traceObservationPoint);
  return point.toLowerCase().replaceAll('_', '-');
}

/** Returns the reason why a packet is dropped, and the rule or the policies that decided. */
function whyText(flow: Flow): string {
  const reason =
    flow.verdict === Verdict.DROPPED
      ? nameOf(DropReason, flow.dropReasonDesc).toLowerCase().replaceAll('_', ' ')
      : '';
  const decisions = flow.heddle?.decisions ?? [];
  const by = decisions.map(decisionText).filter((each) => each !== '');
  if (by.length === 0) by.push(...policiesOf(flow).map(policyText));
  return [reason, by.join(', ')].filter((each) => each !== '').join(': ');
}

function decisionText({ relation, direction, policy, rule, ruleName }: PolicyDecision): string {
  if (!policy) return '';
  if (relation === PolicyDecision_Relation.ISOLATES) return `isolated by ${policyText(policy)}`;
  const name = ruleName === '' ? '' : ` "${ruleName}"`;
  const text = `${nameOf(TrafficDirection, direction).toLowerCase()}[${rule - 1}]${name} of ${policyText(policy)}`;
  return relation === PolicyDecision_Relation.NEAREST ? `nearest ${text}` : text;
}

function policiesOf(flow: Flow): readonly Policy[] {
  return [
    ...[...flow.egressAllowedBy, ...flow.ingressAllowedBy],
    ...[...flow.egressDeniedBy, ...flow.ingressDeniedBy],
  ];
}

function policyText({ kind, namespace, name }: Policy): string {
  return `${kind} ${namespace === '' ? '' : `${namespace}/`}${name}`;
}
