import { AF_INET, AF_INET6 } from '@heddle/sys/net';
import { MalformedMessage, removed } from './errors.ts';
import { addressText, type Family, readPrefix } from './inet.ts';
import { mainTable } from './routes.ts';
import type { NetlinkSocket } from './socket.ts';
import { Attributes, type Message, MessageWriter, NLM_F_CREATE, NLM_F_EXCL } from './wire.ts';

// linux/fib_rules.h, linux/rtnetlink.h
const RTM_NEWRULE = 32;
const RTM_DELRULE = 33;
const RTM_GETRULE = 34;
const FRA_DST = 1;
const FRA_SRC = 2;
const FRA_IIFNAME = 3;
const FRA_GOTO = 4;
const FRA_PRIORITY = 6;
const FRA_FWMARK = 10;
const FRA_TABLE = 15;
const FRA_FWMASK = 16;
const FRA_OIFNAME = 17;
const FIB_RULE_INVERT = 2;
const headerSize = 12;

/** FR_ACT_* by name. */
const actions = {
  lookup: 1,
  goto: 2,
  nop: 3,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
} as const;

export type RuleAction = keyof typeof actions;

/** A rule that chooses the routing table for packets (ip-rule(8)). Absent conditions match all packets. */
export interface RoutingRule {
  readonly family: Family;
  /** Rules are tried in ascending order. Default: before all rules except that of priority 0. */
  readonly priority?: number;
  /** Source addresses, e.g. `10.0.0.0/8`. */
  readonly source?: string;
  /** Destination addresses. */
  readonly destination?: string;
  /** Type of service: the DSCP of packets in the upper six bits, and zero in the others. */
  readonly tos?: number;
  /** Packet mark, compared after `markMask` is applied. */
  readonly mark?: number;
  /** Default: all 32 bits. */
  readonly markMask?: number;
  /** Name of the link that packets arrive by; `lo` for packets of this network namespace. */
  readonly inputLink?: string;
  /** Name of the link that the sending socket is bound to. */
  readonly outputLink?: string;
  /** The rule applies to the packets that do not match. */
  readonly invert?: boolean;
  /** Default: lookup. */
  readonly action?: RuleAction;
  /** The table of a lookup. Default: the main table, 254. */
  readonly table?: number;
  /** Priority of the rule that `goto` continues with. */
  readonly target?: number;
}

/** Adds a rule. Throws NetlinkError (EEXIST when there is an equal rule) and RangeError. */
export function addRoutingRule(socket: NetlinkSocket, rule: RoutingRule): void {
  const writer = new MessageWriter(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL);
  socket.request(writeRule(writer, rule), `add routing rule ${describe(rule)}`);
}

/**
 * Removes the first rule that matches all given fields; returns false when there is none. Throws
 * NetlinkError and RangeError.
 */
export function removeRoutingRule(socket: NetlinkSocket, rule: RoutingRule): boolean {
  const writer = writeRule(new MessageWriter(RTM_DELRULE), rule);
  const what = `remove routing rule ${describe(rule)}`;
  return removed(() => socket.request(writer, what), 'ENOENT');
}

/** Returns the rules of both families, each family in the order of the priorities. Throws NetlinkError. */
export function listRoutingRules(socket: NetlinkSocket): RoutingRule[] {
  const found: RoutingRule[] = [];
  for (const family of [AF_INET, AF_INET6]) {
    const header = new Uint8Array(headerSize);
    header[0] = family;
    const writer = new MessageWriter(RTM_GETRULE).header(header);
    for (const message of socket.dump(writer, 'list routing rules')) {
      const rule = readRoutingRule(message);
      if (rule) found.push(rule);
    }
  }
  return found;
}

/**
 * Reads an RTM_NEWRULE message; returns undefined for families other than IP and for unknown
 * actions. Throws MalformedMessage.
 */
export function readRoutingRule(message: Message): RoutingRule | undefined {
  const { body } = message;
  if (body.length < headerSize) {
    throw new MalformedMessage(
      `read routing rule: ${body.length} bytes where ${headerSize} are needed`,
    );
  }
  const family = body[0]!;
  const action = (Object.keys(actions) as RuleAction[]).find((name) => actions[name] === body[7]);
  if ((family !== AF_INET && family !== AF_INET6) || !action) return undefined;
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const attributes = Attributes.read(body.subarray(headerSize));
  const destination = attributes.bytes(FRA_DST);
  const source = attributes.bytes(FRA_SRC);
  const mark = attributes.u32(FRA_FWMARK);
  const markMask = attributes.u32(FRA_FWMASK);
  const inputLink = attributes.text(FRA_IIFNAME);
  const outputLink = attributes.text(FRA_OIFNAME);
  const target = attributes.u32(FRA_GOTO);
  return {
    family,
    // The kernel omits the priority 0.
    priority: attributes.u32(FRA_PRIORITY) ?? 0,
    ...(source && { source: `${addressText(source)}/${body[2]!}` }),
    ...(destination && { destination: `${addressText(destination)}/${body[1]!}` }),
    ...(body[3] !== 0 && { tos: body[3]! }),
    ...(mark !== undefined && { mark }),
    ...(markMask !== undefined && { markMask }),
    ...(inputLink !== undefined && { inputLink }),
    ...(outputLink !== undefined && { outputLink }),
    invert: (view.getUint32(8, true) & FIB_RULE_INVERT) !== 0,
    action,
    ...(action === 'lookup' && { table: attributes.u32(FRA_TABLE) ?? body[4]! }),
    ...(target !== undefined && { target }),
  };
}

function writeRule(writer: MessageWriter, rule: RoutingRule): MessageWriter {
  const source = readRange(rule, 'source');
  const destination = readRange(rule, 'destination');
  const action = rule.action ?? 'lookup';
  // struct fib_rule_hdr: family, destination and source length, tos, table, two reserved, action
  // (u8 each), flags u32.
  const header = new Uint8Array(headerSize);
  header.set([rule.family, destination?.prefixLength ?? 0, source?.prefixLength ?? 0]);
  header[3] = rule.tos ?? 0;
  header[7] = actions[action];
  new DataView(header.buffer).setUint32(8, rule.invert ? FIB_RULE_INVERT : 0, true);
  writer.header(header);
  if (destination) writer.bytes(FRA_DST, destination.bytes);
  if (source) writer.bytes(FRA_SRC, source.bytes);
  if (rule.inputLink !== undefined) writer.text(FRA_IIFNAME, rule.inputLink);
  if (rule.outputLink !== undefined) writer.text(FRA_OIFNAME, rule.outputLink);
  if (rule.priority !== undefined) writer.u32(FRA_PRIORITY, rule.priority);
  if (rule.mark !== undefined) writer.u32(FRA_FWMARK, rule.mark);
  if (rule.markMask !== undefined) writer.u32(FRA_FWMASK, rule.markMask);
  if (action === 'lookup') writer.u32(FRA_TABLE, rule.table ?? mainTable);
  if (rule.target !== undefined) writer.u32(FRA_GOTO, rule.target);
  return writer;
}

function readRange(rule: RoutingRule, field: 'source' | 'destination') {
  const text = rule[field];
  if (text === undefined) return undefined;
  const range = readPrefix(text);
  if (range.family !== rule.family) {
    throw new RangeError(`use routing rule: ${field} ${text} is not of the family of the rule`);
  }
  return range;
}

function describe({
  priority,
  source,
  destination,
  action = 'lookup',
  table,
  target,
}: RoutingRule) {
  return [
    priority === undefined ? '' : `${priority}:`,
    source ? `from ${source}` : '',
    destination ? `to ${destination}` : '',
    action,
    action === 'lookup' ? `${table ?? mainTable}` : `${target ?? ''}`,
  ]
    .filter((part) => part !== '')
    .join(' ');
}
