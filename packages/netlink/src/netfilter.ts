import { decodeCString, encodeCString } from '@heddle/sys';
import { MalformedMessage } from './errors.ts';
import type { NetlinkSocket } from './socket.ts';
import { MessageWriter } from './wire.ts';

// Rules of nf_tables (linux/netfilter/nf_tables.h), those of iptables-nft among them.

export const NETLINK_NETFILTER = 12;

const NFNL_SUBSYS_NFTABLES = 10;
const message = (number: number) => (NFNL_SUBSYS_NFTABLES << 8) | number;
const [GETCHAIN, GETRULE] = [message(4), message(7)];
const CHAIN = { table: 1, name: 3, hook: 4 } as const;
const RULE = { table: 1, chain: 2, expressions: 4 } as const;
const HOOK_NUMBER = 1;
const EXPRESSION = { name: 1, data: 2 } as const;
/** The attribute with the name of a `match` or `target`, which wrap an extension of iptables. */
const EXTENSION_NAME = 1;
const IMMEDIATE_DATA = 2;
const DATA_VERDICT = 2;
const VERDICT_CHAIN = 2;
const LOOKUP_DESTINATION = 3;

export interface NetfilterChain {
  /** NFPROTO_*. */
  readonly family: number;
  readonly table: string;
  readonly name: string;
  /** NF_INET_*, of a base chain. */
  readonly hook: number | undefined;
}

/** A step of a rule. */
export interface NetfilterExpression {
  /** The name that nf_tables uses; `match NAME` and `target NAME` for an extension of iptables. */
  readonly name: string;
  /** The chain that it may go on with. */
  readonly chain?: string;
}

/** `socket` is one of NETLINK_NETFILTER. Throws NetlinkError. */
export function listChains(socket: NetlinkSocket): NetfilterChain[] {
  return socket.dump(header(GETCHAIN, 0), 'list chains').map(({ body }) => {
    const hook = attribute(body, CHAIN.hook);
    return {
      family: body[0]!,
      table: text(attribute(body, CHAIN.table)),
      name: text(attribute(body, CHAIN.name)),
      hook: hook && number(attribute(hook, HOOK_NUMBER, 0)),
    };
  });
}

/** The rules of a chain, in their order. Throws NetlinkError. */
export function listRules(
  socket: NetlinkSocket,
  { family, table, name }: NetfilterChain,
): NetfilterExpression[][] {
  const writer = header(GETRULE, family)
    .bytes(RULE.table, encodeCString(table))
    .bytes(RULE.chain, encodeCString(name));
  return socket
    .dump(writer, `list rules of chain ${name}`)
    .filter(({ body }) => text(attribute(body, RULE.chain)) === name)
    .map(({ body }) => {
      const list = attribute(body, RULE.expressions) ?? new Uint8Array();
      return Array.from(attributes(list, 0), ({ payload }) => readExpression(payload));
    });
}

function readExpression(bytes: Uint8Array): NetfilterExpression {
  const name = text(attribute(bytes, EXPRESSION.name, 0));
  const data = attribute(bytes, EXPRESSION.data, 0) ?? new Uint8Array();
  switch (name) {
    case 'match':
    case 'target':
      return { name: `${name} ${text(attribute(data, EXTENSION_NAME, 0))}` };
    case 'immediate': {
      const value = attribute(data, IMMEDIATE_DATA, 0);
      const verdict = value && attribute(value, DATA_VERDICT, 0);
      const chain = verdict && attribute(verdict, VERDICT_CHAIN, 0);
      return chain ? { name, chain: text(chain) } : { name };
    }
    case 'lookup':
      // In a map, which may hold verdicts, and chains to go on with.
      return { name: attribute(data, LOOKUP_DESTINATION, 0) ? 'lookup of a map' : name };
    default:
      return { name };
  }
}

/** struct nfgenmsg: family, version, resource. */
function header(type: number, family: number): MessageWriter {
  return new MessageWriter(type).header(Uint8Array.of(family, 0, 0, 0));
}

const ATTRIBUTE_TYPE = 0x3fff;

/** Unlike wire.ts' Attributes also lists, whose members have one type. Throws MalformedMessage. */
function* attributes(bytes: Uint8Array, start: number) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = start; at + 4 <= bytes.length; ) {
    const length = view.getUint16(at, true);
    if (length < 4 || at + length > bytes.length) {
      throw new MalformedMessage(`read netfilter attribute: length ${length} at ${at}`);
    }
    const type = view.getUint16(at + 2, true) & ATTRIBUTE_TYPE;
    yield { type, payload: bytes.subarray(at + 4, at + length) };
    at += (length + 3) & ~3;
  }
}

/** The first of a type, behind struct nfgenmsg by default. */
function attribute(bytes: Uint8Array | undefined, type: number, start = 4) {
  for (const each of attributes(bytes ?? new Uint8Array(), start)) {
    if (each.type === type) return each.payload;
  }
  return undefined;
}

const text = (bytes: Uint8Array | undefined) => (bytes ? decodeCString(bytes) : '');

/** Reads a number in network byte order. */
function number(bytes: Uint8Array | undefined): number | undefined {
  if (!bytes || bytes.length < 4) return undefined;
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, false);
}
