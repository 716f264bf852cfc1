import { encodeCString } from '@heddle/sys';
import { MalformedMessage } from './errors.ts';
import type { NetlinkSocket } from './socket.ts';
import { Attributes, eachAttribute, type Message, MessageWriter } from './wire.ts';

// Reads the rules of nf_tables (linux/netfilter/nf_tables.h), which include those of iptables-nft.

export const NETLINK_NETFILTER = 12;

const NFNL_SUBSYS_NFTABLES = 10;
const messageType = (number: number) => (NFNL_SUBSYS_NFTABLES << 8) | number;
const NFT_MSG_GETCHAIN = messageType(4);
const NFT_MSG_GETRULE = messageType(7);
const CHAIN = { table: 1, name: 3, hook: 4 } as const;
const RULE = { table: 1, chain: 2, expressions: 4 } as const;
const HOOK_NUMBER = 1;
const EXPRESSION = { name: 1, data: 2 } as const;
/** The name of the extension of iptables that a `match` or `target` expression runs. */
const EXTENSION_NAME = 1;
const IMMEDIATE_DATA = 2;
const DATA_VERDICT = 2;
const VERDICT_CHAIN = 2;
const LOOKUP_DESTINATION = 3;
/** struct nfgenmsg: family u8, version u8, resource be16. */
const headerSize = 4;

export interface NetfilterChain {
  /** NFPROTO_*. */
  readonly family: number;
  readonly table: string;
  readonly name: string;
  /** NF_INET_* number of a base chain's hook. */
  readonly hook: number | undefined;
}

/** One expression of a rule. */
export interface NetfilterExpression {
  /** The name in nf_tables; `match NAME` or `target NAME` for an extension of iptables. */
  readonly name: string;
  /** The chain that the expression can jump or go to. */
  readonly chain?: string;
}

/**
 * Returns the chains of all tables. `socket` is one of protocol NETLINK_NETFILTER. Throws
 * NetlinkError.
 */
export function listChains(socket: NetlinkSocket): NetfilterChain[] {
  return socket.dump(request(NFT_MSG_GETCHAIN, 0), 'list chains').map(readChain);
}

/** Returns the rules of a chain in their order, each as its expressions. Throws NetlinkError. */
export function listChainRules(
  socket: NetlinkSocket,
  { family, table, name }: NetfilterChain,
): NetfilterExpression[][] {
  const writer = request(NFT_MSG_GETRULE, family)
    .bytes(RULE.table, encodeCString(table))
    .bytes(RULE.chain, encodeCString(name));
  return socket
    .dump(writer, `list rules of chain ${name}`)
    .map(readRule)
    .filter(({ chain }) => chain === name)
    .map(({ expressions }) => expressions);
}

/** Reads an NFT_MSG_NEWCHAIN message. Throws MalformedMessage. */
export function readChain({ body }: Message): NetfilterChain {
  const attributes = readBody(body);
  const hook = attributes.nested(CHAIN.hook)?.bytes(HOOK_NUMBER);
  return {
    family: body[0]!,
    table: attributes.text(CHAIN.table) ?? '',
    name: attributes.text(CHAIN.name) ?? '',
    hook: hook && readNumber(hook),
  };
}

/** Reads an NFT_MSG_NEWRULE message. Throws MalformedMessage. */
export function readRule({ body }: Message): {
  readonly chain: string;
  readonly expressions: NetfilterExpression[];
} {
  const attributes = readBody(body);
  // The list's members all have one type, so Attributes cannot hold them.
  const list = attributes.bytes(RULE.expressions) ?? new Uint8Array();
  return {
    chain: attributes.text(RULE.chain) ?? '',
    expressions: Array.from(eachAttribute(list), ({ payload }) => readExpression(payload)),
  };
}

function readExpression(bytes: Uint8Array): NetfilterExpression {
  const expression = Attributes.read(bytes);
  const name = expression.text(EXPRESSION.name) ?? '';
  const data = () => expression.nested(EXPRESSION.data);
  switch (name) {
    case 'match':
    case 'target':
      return { name: `${name} ${data()?.text(EXTENSION_NAME) ?? ''}` };
    case 'immediate': {
      const verdict = data()?.nested(IMMEDIATE_DATA)?.nested(DATA_VERDICT);
      const chain = verdict?.text(VERDICT_CHAIN);
      return chain === undefined ? { name } : { name, chain };
    }
    case 'lookup':
      // A lookup with a destination register reads a map, whose values may be verdicts with chains.
      return { name: data()?.bytes(LOOKUP_DESTINATION) ? 'lookup of a map' : name };
    default:
      return { name };
  }
}

function request(type: number, family: number): MessageWriter {
  return new MessageWriter(type).header(Uint8Array.of(family, 0, 0, 0));
}

function readBody(body: Uint8Array): Attributes {
  if (body.length < headerSize) {
    throw new MalformedMessage(
      `read netfilter message: ${body.length} bytes where ${headerSize} are needed`,
    );
  }
  return Attributes.read(body.subarray(headerSize));
}

/** Reads a u32 in network byte order. */
function readNumber(bytes: Uint8Array): number {
  if (bytes.length < 4) {
    throw new MalformedMessage(`read netfilter number: ${bytes.length} bytes where 4 are needed`);
  }
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, false);
}
