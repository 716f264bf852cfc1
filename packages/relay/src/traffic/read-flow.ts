import { fromBinary } from '@bufbuild/protobuf';
import {
  EndpointSchema,
  type Policy,
  PolicyDecision_Relation,
  PolicyDecisionSchema,
  PolicySchema,
  TraceReason,
  TrafficDirection,
  Verdict,
} from '@heddle/hubble/messages';
import type { LinkVerdict, RuleRef } from '@heddle/web/contract';
import { refusalReasons } from '@heddle/web/filter';
import { Cursor, wireType } from './cursor.ts';
import type { EndTable } from './ends.ts';
import { type FlowValues, frames, noValues, readFields, utf8 } from './flow-values.ts';
import type { End, RelayFlow } from './model.ts';

/** The fields of a flow that the relay reads; observers leave out the others. */
export const fieldsRead: readonly string[] = [
  ...['time', 'uuid', 'verdict', 'drop_reason_desc', 'IP', 'l4', 'l7', 'is_reply'],
  ...['source', 'destination', 'source_names', 'destination_names'],
  ...['source_service', 'destination_service', 'traffic_direction', 'trace_reason', 'event_type'],
  ...['egress_denied_by', 'ingress_denied_by', 'egress_allowed_by', 'ingress_allowed_by', 'heddle'],
];

const noRules: readonly RuleRef[] = [];
const rulesMax = 16;
const namesMax = 4;
/** The most ends and sets of rules that are kept by their bytes. */
const knownMax = 50_000;
/** Longer bytes are read each time, so that a peer with huge names does not fill the memory. */
const keyMax = 8192;

/**
 * Reads flows from protobuf's wire format. Only the fields in `fieldsRead` are decoded, and ends, services and rules,
 * which many flows share, only once: their bytes are the key by which they are found again.
 */
export class FlowReader {
  readonly #ends: EndTable;
  readonly #endsByBytes = new Map<string, End | 'of the node'>();
  readonly #rules = new Map<string, readonly RuleRef[]>();
  readonly #services = new Map<string, string>();

  constructor(ends: EndTable) {
    this.#ends = ends;
  }

  /**
   * Reads the bytes of a message flow.Flow. `arrived` is the time of a flow without one, in milliseconds since 1970.
   * Throws an Error if the bytes are no such message.
   */
  read(bytes: Uint8Array, node: string, arrived: number): RelayFlow {
    const values = noValues();
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    readFields(new Cursor(buffer), values);
    const { isReply } = values;
    const source = this.#end(values.source, values.sourceAddress, values.sourceNames, node);
    const destination = this.#end(
      ...([values.destination, values.destinationAddress, values.destinationNames] as const),
      node,
    );
    const verdict = verdictOf(values.verdict, values.dropReason);
    const direction = directionOf(values.direction);
    const { dns, http, flags } = values;
    return {
      from: isReply ? destination : source,
      to: isReply ? source : destination,
      service: this.#service(isReply ? values.sourceService : values.destinationService),
      protocol: values.protocol,
      port: isReply ? values.sourcePort : values.destinationPort,
      fromPort: isReply ? values.destinationPort : values.sourcePort,
      verdict,
      reason: verdict === 'forwarded' ? 0 : values.dropReason,
      rules: this.#rulesOf(values, direction),
      firstSeen: 0,
      flow: { direction, flags, node, dns, http },
      time: Number.isNaN(values.time) ? arrived : values.time,
      uuid: values.uuid,
      hubbleVerdict: values.verdict,
      isReply,
      isNew: !isReply && values.traceReason === TraceReason.NEW,
      eventType: values.eventType,
      bytes: values.bytes,
      packets: values.packets,
    };
  }

  #end(endpoint: string, address: string, names: string, node: string): End {
    const key = `${address}\n${names}\n${endpoint}`;
    const known = this.#endsByBytes.get(key);
    if (known !== undefined && known !== 'of the node') return known;
    if (known !== undefined) {
      const own = this.#endsByBytes.get(`${node}\n${key}`);
      if (own !== undefined && own !== 'of the node') return own;
    }
    const message =
      endpoint === '' ? undefined : fromBinary(EndpointSchema, Buffer.from(endpoint, 'latin1'));
    const texts = names === '' ? [] : textsOf(names);
    const end = this.#ends.end(message, address, texts, node);
    if (key.length > keyMax) return end;
    if (this.#endsByBytes.size >= knownMax) this.#endsByBytes.clear();
    const isOfNode = end.kind === 'Host';
    this.#endsByBytes.set(key, isOfNode ? 'of the node' : end);
    if (isOfNode) this.#endsByBytes.set(`${node}\n${key}`, end);
    return end;
  }

  #service(bytes: string): string {
    if (bytes === '') return '';
    const known = this.#services.get(bytes);
    if (known !== undefined) return known;
    const cursor = new Cursor(Buffer.from(bytes, 'latin1'));
    let [namespace, name] = ['', ''];
    while (cursor.at < cursor.end) {
      const tag = cursor.varint();
      if (tag >>> 3 === 1 && (tag & 7) === wireType.bytes) name = utf8(cursor);
      else if (tag >>> 3 === 2 && (tag & 7) === wireType.bytes) namespace = utf8(cursor);
      else cursor.skip(tag & 7);
    }
    const text = name === '' ? '' : `${namespace}/${name}`;
    if (bytes.length > keyMax) return text;
    if (this.#services.size >= knownMax) this.#services.clear();
    this.#services.set(bytes, text);
    return text;
  }

  /** Returns the rules that decided: those in Heddle's own field, or the policies of Hubble's fields. */
  #rulesOf(
    { decisions, policies }: FlowValues,
    direction: 'ingress' | 'egress' | undefined,
  ): readonly RuleRef[] {
    const bytes = decisions === '' ? policies : decisions;
    if (bytes === '') return noRules;
    const key = `${direction ?? ''}\n${bytes}`;
    const known = this.#rules.get(key);
    if (known) return known;
    const rules = decisions === '' ? policyRules(policies) : decisionRules(decisions, direction);
    if (key.length > keyMax) return rules;
    if (this.#rules.size >= knownMax) this.#rules.clear();
    this.#rules.set(key, rules);
    return rules;
  }
}

function textsOf(names: string): string[] {
  return [...frames(names)].slice(0, namesMax).map(([, bytes]) => bytes.toString('utf8'));
}

function verdictOf(verdict: number, dropReason: number): LinkVerdict {
  switch (verdict) {
    case Verdict.DROPPED:
      return refusalReasons.includes(dropReason) ? 'refused' : 'dropped';
    case Verdict.ERROR:
      return 'refused';
    case Verdict.AUDIT:
      return 'audit';
    default:
      return 'forwarded';
  }
}

function directionOf(direction: number): 'ingress' | 'egress' | undefined {
  if (direction === TrafficDirection.INGRESS) return 'ingress';
  return direction === TrafficDirection.EGRESS ? 'egress' : undefined;
}

const relations: Readonly<Record<number, RuleRef['relation']>> = {
  [PolicyDecision_Relation.ISOLATES]: 'isolates',
  [PolicyDecision_Relation.NEAREST]: 'nearest',
};

function decisionRules(
  text: string,
  flowDirection: 'ingress' | 'egress' | undefined,
): readonly RuleRef[] {
  return [...frames(text)].slice(0, rulesMax).flatMap(([, bytes]): RuleRef[] => {
    const { policy, rule, verdict, relation, direction } = fromBinary(PolicyDecisionSchema, bytes);
    if (!policy) return [];
    return [
      {
        policy: policyRef(policy),
        ...(rule === 0 ? {} : { rule }),
        direction: directionOf(direction) ?? flowDirection ?? 'ingress',
        relation: relations[relation] ?? (verdict === Verdict.DROPPED ? 'denied' : 'allowed'),
      },
    ];
  });
}

/** The direction and the relation of the policies of a field, by its number from that of `egress_allowed_by` on. */
const policyFields: Readonly<Record<number, Pick<RuleRef, 'direction' | 'relation'>>> = {
  0: { direction: 'egress', relation: 'allowed' },
  1: { direction: 'ingress', relation: 'allowed' },
  3: { direction: 'egress', relation: 'denied' },
  4: { direction: 'ingress', relation: 'denied' },
};

function policyRules(text: string): readonly RuleRef[] {
  return [...frames(text)].slice(0, rulesMax).map(([number, bytes]): RuleRef => {
    const policy = policyRef(fromBinary(PolicySchema, bytes));
    return { policy, ...policyFields[number]! };
  });
}

function policyRef({ kind, namespace, name }: Policy): RuleRef['policy'] {
  return { kind: kind || 'NetworkPolicy', namespace, name };
}
