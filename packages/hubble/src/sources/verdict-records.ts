import type { DenialReasons, VerdictEntry } from '@heddle/agent';
import { protocolNumber } from '@heddle/datapath';
import { dropReason } from '@heddle/datapath/abi';
import { parseIp } from '@heddle/sys';
import { type Decision, eventType, type FlowRecord } from '../flows/record.ts';
import {
  SocketTranslationPoint,
  TraceObservationPoint,
  TraceReason,
  Verdict,
} from '../generated/flow/flow_pb.js';
import { deciding, defaultDenial, directions, type Side } from './decisions.ts';
import type { NodeNames } from './records.ts';

/**
 * Returns the flows of a verdict of network policies: one for each direction in which a rule has decided, or no rule has
 * allowed the connection. `time` is in milliseconds since 1970; `reasons` are those of a denial by default.
 */
export function verdictRecords(
  entry: VerdictEntry,
  reasons: DenialReasons | undefined,
  names: NodeNames,
  time: number,
): FlowRecord[] {
  const [source, destination] = [parseIp(entry.source), parseIp(entry.destination)];
  if (!source || !destination) return [];
  const sides = (['egress', 'ingress'] as const).flatMap((side) => {
    const decided = decisionAt(entry, side, reasons);
    return decided ? [{ side, ...decided }] : [];
  });
  return sides.map(({ side, verdict, decisions }) => {
    const isByRule = (side === 'egress' ? entry.egressRule : entry.ingressRule) !== undefined;
    return {
      ...{ time, started: 0, source, destination, verdict, decisions },
      ...{ sourcePort: entry.sourcePort, destinationPort: entry.destinationPort, frontendPort: 0 },
      ...{ protocol: protocolNumber(entry.protocol) ?? 0, tcpFlags: 0 },
      dropReason: isByRule ? dropReason.policy : dropReason.policyDefault,
      direction: directions[side],
      isReply: false,
      eventType: eventType.policyVerdict,
      observationPoint: TraceObservationPoint.UNKNOWN_POINT,
      traceReason: TraceReason.TRACE_REASON_UNKNOWN,
      socketPoint: SocketTranslationPoint.SOCK_XLATE_POINT_UNKNOWN,
      ...{ interfaceIndex: 0, bytes: 0, packets: 0 },
      ...{ sourceParty: names.party(source), destinationParty: names.party(destination) },
    };
  });
}

/** The verdicts of outcomes that are none of allowing. */
const verdicts = { denied: Verdict.DROPPED, 'would-deny': Verdict.AUDIT } as const;

function decisionAt(
  { outcome, direction, egressRule, ingressRule }: VerdictEntry,
  side: Side,
  reasons: DenialReasons | undefined,
): { readonly verdict: Verdict; readonly decisions: readonly Decision[] } | undefined {
  const rule = side === 'egress' ? egressRule : ingressRule;
  if (outcome === 'allowed' || direction !== side) {
    const verdict = Verdict.FORWARDED;
    return rule && { verdict, decisions: [deciding(rule, side, verdict)] };
  }
  const verdict = verdicts[outcome];
  if (rule) return { verdict, decisions: [deciding(rule, side, verdict)] };
  return { verdict, decisions: reasons ? defaultDenial(reasons, side, verdict) : [] };
}
