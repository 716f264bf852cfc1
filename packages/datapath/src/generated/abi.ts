// Generated from bpf/abi.h by `npm run generate`; not edited by hand.

/** struct address_key */
export interface AddressKey {
  /** 16 bytes. */
  readonly address: Uint8Array;
}

export const addressKeySize = 16;

export const addressKeyCodec = {
  size: 16,
  offsets: {
    address: 0,
  },
  encode: encodeAddressKey,
  decode: decodeAddressKey,
} as const;

export function encodeAddressKey(value: AddressKey, into: Uint8Array, offset = 0): void {
  checkRoom(into, offset, 16);
  checkLength('address_key.address', value.address.length, 16);
  into.set(value.address, offset);
}

export function decodeAddressKey(bytes: Uint8Array, offset = 0): AddressKey {
  return {
    address: bytesAt(bytes, offset, 16),
  };
}

/** enum address_role */
export const addressRole = {
  service: 1,
  udpBackend: 2,
  node: 4,
  external: 8,
  peer: 16,
  otherNode: 32,
} as const;
export type AddressRole = (typeof addressRole)[keyof typeof addressRole];

/** struct affinity */
export interface Affinity {
  readonly backend: number;
  readonly generation: number;
  readonly lastUsed: bigint;
}

export const affinitySize = 16;

export const affinityCodec = {
  size: 16,
  offsets: {
    backend: 0,
    generation: 4,
    lastUsed: 8,
  },
  encode: encodeAffinity,
  decode: decodeAffinity,
} as const;

export function encodeAffinity(value: Affinity, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 16);
  view.setUint32(0, value.backend, true);
  view.setUint32(4, value.generation, true);
  view.setBigUint64(8, value.lastUsed, true);
}

export function decodeAffinity(bytes: Uint8Array, offset = 0): Affinity {
  const view = viewOf(bytes, offset, 16);
  return {
    backend: view.getUint32(0, true),
    generation: view.getUint32(4, true),
    lastUsed: view.getBigUint64(8, true),
  };
}

/** struct affinity_key */
export interface AffinityKey {
  readonly client: bigint;
  readonly service: number;
  readonly reserved: number;
}

export const affinityKeySize = 16;

export const affinityKeyCodec = {
  size: 16,
  offsets: {
    client: 0,
    service: 8,
    reserved: 12,
  },
  encode: encodeAffinityKey,
  decode: decodeAffinityKey,
} as const;

export function encodeAffinityKey(value: AffinityKey, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 16);
  view.setBigUint64(0, value.client, true);
  view.setUint32(8, value.service, true);
  view.setUint32(12, value.reserved, true);
}

export function decodeAffinityKey(bytes: Uint8Array, offset = 0): AffinityKey {
  const view = viewOf(bytes, offset, 16);
  return {
    client: view.getBigUint64(0, true),
    service: view.getUint32(8, true),
    reserved: view.getUint32(12, true),
  };
}

/** struct answer_budget */
export interface AnswerBudget {
  readonly filled: bigint;
  readonly left: bigint;
}

export const answerBudgetSize = 16;

export const answerBudgetCodec = {
  size: 16,
  offsets: {
    filled: 0,
    left: 8,
  },
  encode: encodeAnswerBudget,
  decode: decodeAnswerBudget,
} as const;

export function encodeAnswerBudget(value: AnswerBudget, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 16);
  view.setBigUint64(0, value.filled, true);
  view.setBigUint64(8, value.left, true);
}

export function decodeAnswerBudget(bytes: Uint8Array, offset = 0): AnswerBudget {
  const view = viewOf(bytes, offset, 16);
  return {
    filled: view.getBigUint64(0, true),
    left: view.getBigUint64(8, true),
  };
}

/** struct backend */
export interface Backend {
  /** 16 bytes. */
  readonly address: Uint8Array;
  /** Network byte order in the struct, host order here. */
  readonly port: number;
  readonly protocol: number;
  readonly state: BackendState;
  readonly service: number;
  readonly generation: number;
  readonly weight: number;
}

export const backendSize = 32;

export const backendCodec = {
  size: 32,
  offsets: {
    address: 0,
    port: 16,
    protocol: 18,
    state: 19,
    service: 20,
    generation: 24,
    weight: 28,
  },
  encode: encodeBackend,
  decode: decodeBackend,
} as const;

export function encodeBackend(value: Backend, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 32);
  checkLength('backend.address', value.address.length, 16);
  into.set(value.address, offset);
  view.setUint16(16, value.port, false);
  view.setUint8(18, value.protocol);
  view.setUint8(19, value.state);
  view.setUint32(20, value.service, true);
  view.setUint32(24, value.generation, true);
  view.setUint32(28, value.weight, true);
}

export function decodeBackend(bytes: Uint8Array, offset = 0): Backend {
  const view = viewOf(bytes, offset, 32);
  return {
    address: bytesAt(bytes, offset, 16),
    port: view.getUint16(16, false),
    protocol: view.getUint8(18),
    state: view.getUint8(19) as BackendState,
    service: view.getUint32(20, true),
    generation: view.getUint32(24, true),
    weight: view.getUint32(28, true),
  };
}

/** enum backend_state */
export const backendState = {
  gone: 0,
  active: 1,
  draining: 2,
} as const;
export type BackendState = (typeof backendState)[keyof typeof backendState];

/** struct backend_stats */
export interface BackendStats {
  readonly connections: bigint;
  readonly active: number;
  readonly since: number;
  readonly packets: bigint;
  readonly bytes: bigint;
}

export const backendStatsSize = 32;

export const backendStatsCodec = {
  size: 32,
  offsets: {
    connections: 0,
    active: 8,
    since: 12,
    packets: 16,
    bytes: 24,
  },
  encode: encodeBackendStats,
  decode: decodeBackendStats,
} as const;

export function encodeBackendStats(value: BackendStats, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 32);
  view.setBigUint64(0, value.connections, true);
  view.setUint32(8, value.active, true);
  view.setUint32(12, value.since, true);
  view.setBigUint64(16, value.packets, true);
  view.setBigUint64(24, value.bytes, true);
}

export function decodeBackendStats(bytes: Uint8Array, offset = 0): BackendStats {
  const view = viewOf(bytes, offset, 32);
  return {
    connections: view.getBigUint64(0, true),
    active: view.getUint32(8, true),
    since: view.getUint32(12, true),
    packets: view.getBigUint64(16, true),
    bytes: view.getBigUint64(24, true),
  };
}

/** struct connection */
export interface Connection {
  readonly origin: Origin;
  readonly counted: number;
  readonly reserved: number;
}

export const connectionSize = 56;

export const connectionCodec = {
  size: 56,
  offsets: {
    origin: 0,
    counted: 48,
    reserved: 52,
  },
  encode: encodeConnection,
  decode: decodeConnection,
} as const;

export function encodeConnection(value: Connection, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 56);
  encodeOrigin(value.origin, into, offset);
  view.setUint32(48, value.counted, true);
  view.setUint32(52, value.reserved, true);
}

export function decodeConnection(bytes: Uint8Array, offset = 0): Connection {
  const view = viewOf(bytes, offset, 56);
  return {
    origin: decodeOrigin(bytes, offset),
    counted: view.getUint32(48, true),
    reserved: view.getUint32(52, true),
  };
}

/** struct crc32c_powers */
export interface Crc32cPowers {
  readonly bits: readonly number[];
}

export const crc32cPowersSize = 2048;

export const crc32cPowersCodec = {
  size: 2048,
  offsets: {
    bits: 0,
  },
  encode: encodeCrc32cPowers,
  decode: decodeCrc32cPowers,
} as const;

export function encodeCrc32cPowers(value: Crc32cPowers, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 2048);
  checkLength('crc32c_powers.bits', value.bits.length, 512);
  for (let i = 0; i < 512; i++) {
    view.setUint32(i * 4, value.bits[i]!, true);
  }
}

export function decodeCrc32cPowers(bytes: Uint8Array, offset = 0): Crc32cPowers {
  const view = viewOf(bytes, offset, 2048);
  return {
    bits: Array.from({ length: 512 }, (_, i) => view.getUint32(i * 4, true)),
  };
}

/** struct ct_bucket */
export interface CtBucket {
  readonly slots: readonly bigint[];
}

export const ctBucketSize = 128;

export const ctBucketCodec = {
  size: 128,
  offsets: {
    slots: 0,
  },
  encode: encodeCtBucket,
  decode: decodeCtBucket,
} as const;

export function encodeCtBucket(value: CtBucket, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 128);
  checkLength('ct_bucket.slots', value.slots.length, 16);
  for (let i = 0; i < 16; i++) {
    view.setBigUint64(i * 8, value.slots[i]!, true);
  }
}

export function decodeCtBucket(bytes: Uint8Array, offset = 0): CtBucket {
  const view = viewOf(bytes, offset, 128);
  return {
    slots: Array.from({ length: 16 }, (_, i) => view.getBigUint64(i * 8, true)),
  };
}

/** struct ct_entry */
export interface CtEntry {
  /** 16 bytes. */
  readonly client: Uint8Array;
  /** 16 bytes. */
  readonly frontend: Uint8Array;
  /** 16 bytes. */
  readonly backend: Uint8Array;
  /** Network byte order in the struct, host order here. */
  readonly clientPort: number;
  /** Network byte order in the struct, host order here. */
  readonly frontendPort: number;
  /** Network byte order in the struct, host order here. */
  readonly backendPort: number;
  /** Network byte order in the struct, host order here. */
  readonly sourcePort: number;
  readonly backendId: number;
  readonly stateWord: number;
}

export const ctEntrySize = 64;

export const ctEntryCodec = {
  size: 64,
  offsets: {
    client: 0,
    frontend: 16,
    backend: 32,
    clientPort: 48,
    frontendPort: 50,
    backendPort: 52,
    sourcePort: 54,
    backendId: 56,
    stateWord: 60,
  },
  encode: encodeCtEntry,
  decode: decodeCtEntry,
} as const;

export function encodeCtEntry(value: CtEntry, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 64);
  checkLength('ct_entry.client', value.client.length, 16);
  into.set(value.client, offset);
  checkLength('ct_entry.frontend', value.frontend.length, 16);
  into.set(value.frontend, offset + 16);
  checkLength('ct_entry.backend', value.backend.length, 16);
  into.set(value.backend, offset + 32);
  view.setUint16(48, value.clientPort, false);
  view.setUint16(50, value.frontendPort, false);
  view.setUint16(52, value.backendPort, false);
  view.setUint16(54, value.sourcePort, false);
  view.setUint32(56, value.backendId, true);
  view.setUint32(60, value.stateWord, true);
}

export function decodeCtEntry(bytes: Uint8Array, offset = 0): CtEntry {
  const view = viewOf(bytes, offset, 64);
  return {
    client: bytesAt(bytes, offset, 16),
    frontend: bytesAt(bytes, offset + 16, 16),
    backend: bytesAt(bytes, offset + 32, 16),
    clientPort: view.getUint16(48, false),
    frontendPort: view.getUint16(50, false),
    backendPort: view.getUint16(52, false),
    sourcePort: view.getUint16(54, false),
    backendId: view.getUint32(56, true),
    stateWord: view.getUint32(60, true),
  };
}

/** enum ct_event */
export const ctEvent = {
  evictedOldest: 0,
  evictedService: 1,
  evictedSource: 2,
  evictedClosed: 3,
  evictedPort: 4,
  evictedBucket: 5,
  invalidAck: 6,
  invalidSyn: 7,
  invalidFin: 8,
  invalidRst: 9,
  unobserved: 10,
} as const;
export type CtEvent = (typeof ctEvent)[keyof typeof ctEvent];

/** struct ct_facts */
export interface CtFacts {
  readonly packets: readonly bigint[];
  readonly bytes: readonly bigint[];
  readonly created: bigint;
  /** 16 bytes. */
  readonly frontend: Uint8Array;
  /** Network byte order in the struct, host order here. */
  readonly frontendPort: number;
  readonly reserved: number;
  readonly checked: number;
}

export const ctFactsSize = 64;

export const ctFactsCodec = {
  size: 64,
  offsets: {
    packets: 0,
    bytes: 16,
    created: 32,
    frontend: 40,
    frontendPort: 56,
    reserved: 58,
    checked: 60,
  },
  encode: encodeCtFacts,
  decode: decodeCtFacts,
} as const;

export function encodeCtFacts(value: CtFacts, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 64);
  checkLength('ct_facts.packets', value.packets.length, 2);
  for (let i = 0; i < 2; i++) {
    view.setBigUint64(i * 8, value.packets[i]!, true);
  }
  checkLength('ct_facts.bytes', value.bytes.length, 2);
  for (let i = 0; i < 2; i++) {
    view.setBigUint64(16 + i * 8, value.bytes[i]!, true);
  }
  view.setBigUint64(32, value.created, true);
  checkLength('ct_facts.frontend', value.frontend.length, 16);
  into.set(value.frontend, offset + 40);
  view.setUint16(56, value.frontendPort, false);
  view.setUint16(58, value.reserved, true);
  view.setUint32(60, value.checked, true);
}

export function decodeCtFacts(bytes: Uint8Array, offset = 0): CtFacts {
  const view = viewOf(bytes, offset, 64);
  return {
    packets: Array.from({ length: 2 }, (_, i) => view.getBigUint64(i * 8, true)),
    bytes: Array.from({ length: 2 }, (_, i) => view.getBigUint64(16 + i * 8, true)),
    created: view.getBigUint64(32, true),
    frontend: bytesAt(bytes, offset + 40, 16),
    frontendPort: view.getUint16(56, false),
    reserved: view.getUint16(58, true),
    checked: view.getUint32(60, true),
  };
}

/** enum ct_state */
export const ctState = {
  free: 0,
  dying: 1,
  tcpSyn: 2,
  tcpSynAck: 3,
  tcpEstablished: 4,
  tcpClientFin: 5,
  tcpBackendFin: 6,
  tcpClosedByClient: 7,
  tcpClosedByBackend: 8,
  tcpReset: 9,
  udpUnanswered: 10,
  udp: 11,
  sctpUnanswered: 12,
  sctp: 13,
  icmpUnanswered: 14,
  icmp: 15,
} as const;
export type CtState = (typeof ctState)[keyof typeof ctState];

/** struct ct_table */
export interface CtTable {
  readonly free: bigint;
  readonly highWater: number;
  readonly used: number;
  readonly unconfirmed: number;
  readonly gcPosition: number;
  readonly sourceIpv4: number;
  readonly sourceIpv6: number;
  readonly watched: CtWatched;
  readonly nfTracked: number;
  readonly tunnelIpv4: number;
  readonly tunnelIpv6: number;
  readonly created: number;
  readonly clockHand: number;
  readonly unconfirmedUdp: number;
  readonly confirmedUdp: number;
  readonly held: number;
  readonly reserved: number;
  readonly secret: readonly number[];
}

export const ctTableSize = 104;

export const ctTableCodec = {
  size: 104,
  offsets: {
    free: 0,
    highWater: 8,
    used: 12,
    unconfirmed: 16,
    gcPosition: 20,
    sourceIpv4: 24,
    sourceIpv6: 28,
    watched: 32,
    nfTracked: 36,
    tunnelIpv4: 38,
    tunnelIpv6: 39,
    created: 40,
    clockHand: 44,
    unconfirmedUdp: 48,
    confirmedUdp: 52,
    held: 56,
    reserved: 60,
    secret: 64,
  },
  encode: encodeCtTable,
  decode: decodeCtTable,
} as const;

export function encodeCtTable(value: CtTable, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 104);
  view.setBigUint64(0, value.free, true);
  view.setUint32(8, value.highWater, true);
  view.setUint32(12, value.used, true);
  view.setUint32(16, value.unconfirmed, true);
  view.setUint32(20, value.gcPosition, true);
  view.setUint32(24, value.sourceIpv4, true);
  view.setUint32(28, value.sourceIpv6, true);
  view.setUint32(32, value.watched, true);
  view.setUint16(36, value.nfTracked, true);
  view.setUint8(38, value.tunnelIpv4);
  view.setUint8(39, value.tunnelIpv6);
  view.setUint32(40, value.created, true);
  view.setUint32(44, value.clockHand, true);
  view.setUint32(48, value.unconfirmedUdp, true);
  view.setUint32(52, value.confirmedUdp, true);
  view.setUint32(56, value.held, true);
  view.setUint32(60, value.reserved, true);
  checkLength('ct_table.secret', value.secret.length, 10);
  for (let i = 0; i < 10; i++) {
    view.setUint32(64 + i * 4, value.secret[i]!, true);
  }
}

export function decodeCtTable(bytes: Uint8Array, offset = 0): CtTable {
  const view = viewOf(bytes, offset, 104);
  return {
    free: view.getBigUint64(0, true),
    highWater: view.getUint32(8, true),
    used: view.getUint32(12, true),
    unconfirmed: view.getUint32(16, true),
    gcPosition: view.getUint32(20, true),
    sourceIpv4: view.getUint32(24, true),
    sourceIpv6: view.getUint32(28, true),
    watched: view.getUint32(32, true) as CtWatched,
    nfTracked: view.getUint16(36, true),
    tunnelIpv4: view.getUint8(38),
    tunnelIpv6: view.getUint8(39),
    created: view.getUint32(40, true),
    clockHand: view.getUint32(44, true),
    unconfirmedUdp: view.getUint32(48, true),
    confirmedUdp: view.getUint32(52, true),
    held: view.getUint32(56, true),
    reserved: view.getUint32(60, true),
    secret: Array.from({ length: 10 }, (_, i) => view.getUint32(64 + i * 4, true)),
  };
}

/** enum ct_watched */
export const ctWatched = {
  drops: 1,
  dns: 2,
} as const;
export type CtWatched = (typeof ctWatched)[keyof typeof ctWatched];

/** struct ct_window */
export interface CtWindow {
  readonly end: readonly number[];
  readonly acked: readonly number[];
  /** 2 bytes. */
  readonly shift: Uint8Array;
  /** 2 bytes. */
  readonly scale: Uint8Array;
  readonly policyEpoch: number;
  readonly egressRule: number;
  readonly ingressRule: number;
  readonly denied: number;
}

export const ctWindowSize = 32;

export const ctWindowCodec = {
  size: 32,
  offsets: {
    end: 0,
    acked: 8,
    shift: 16,
    scale: 18,
    policyEpoch: 20,
    egressRule: 24,
    ingressRule: 26,
    denied: 28,
  },
  encode: encodeCtWindow,
  decode: decodeCtWindow,
} as const;

export function encodeCtWindow(value: CtWindow, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 32);
  checkLength('ct_window.end', value.end.length, 2);
  for (let i = 0; i < 2; i++) {
    view.setUint32(i * 4, value.end[i]!, true);
  }
  checkLength('ct_window.acked', value.acked.length, 2);
  for (let i = 0; i < 2; i++) {
    view.setUint32(8 + i * 4, value.acked[i]!, true);
  }
  checkLength('ct_window.shift', value.shift.length, 2);
  into.set(value.shift, offset + 16);
  checkLength('ct_window.scale', value.scale.length, 2);
  into.set(value.scale, offset + 18);
  view.setUint32(20, value.policyEpoch, true);
  view.setUint16(24, value.egressRule, true);
  view.setUint16(26, value.ingressRule, true);
  view.setUint32(28, value.denied, true);
}

export function decodeCtWindow(bytes: Uint8Array, offset = 0): CtWindow {
  const view = viewOf(bytes, offset, 32);
  return {
    end: Array.from({ length: 2 }, (_, i) => view.getUint32(i * 4, true)),
    acked: Array.from({ length: 2 }, (_, i) => view.getUint32(8 + i * 4, true)),
    shift: bytesAt(bytes, offset + 16, 2),
    scale: bytesAt(bytes, offset + 18, 2),
    policyEpoch: view.getUint32(20, true),
    egressRule: view.getUint16(24, true),
    ingressRule: view.getUint16(26, true),
    denied: view.getUint32(28, true),
  };
}

/** struct dns_copier */
export interface DnsCopier {
  readonly copy: DnsCopy;
  readonly second: number;
  readonly copies: number;
}

export const dnsCopierSize = 560;

export const dnsCopierCodec = {
  size: 560,
  offsets: {
    copy: 0,
    second: 552,
    copies: 556,
  },
  encode: encodeDnsCopier,
  decode: decodeDnsCopier,
} as const;

export function encodeDnsCopier(value: DnsCopier, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 560);
  encodeDnsCopy(value.copy, into, offset);
  view.setUint32(552, value.second, true);
  view.setUint32(556, value.copies, true);
}

export function decodeDnsCopier(bytes: Uint8Array, offset = 0): DnsCopier {
  const view = viewOf(bytes, offset, 560);
  return {
    copy: decodeDnsCopy(bytes, offset),
    second: view.getUint32(552, true),
    copies: view.getUint32(556, true),
  };
}

/** struct dns_copy */
export interface DnsCopy {
  /** 16 bytes. */
  readonly server: Uint8Array;
  /** 16 bytes. */
  readonly client: Uint8Array;
  /** Network byte order in the struct, host order here. */
  readonly clientPort: number;
  readonly length: number;
  readonly reserved: number;
  /** 512 bytes. */
  readonly message: Uint8Array;
}

export const dnsCopySize = 552;

export const dnsCopyCodec = {
  size: 552,
  offsets: {
    server: 0,
    client: 16,
    clientPort: 32,
    length: 34,
    reserved: 36,
    message: 40,
  },
  encode: encodeDnsCopy,
  decode: decodeDnsCopy,
} as const;

export function encodeDnsCopy(value: DnsCopy, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 552);
  checkLength('dns_copy.server', value.server.length, 16);
  into.set(value.server, offset);
  checkLength('dns_copy.client', value.client.length, 16);
  into.set(value.client, offset + 16);
  view.setUint16(32, value.clientPort, false);
  view.setUint16(34, value.length, true);
  view.setUint32(36, value.reserved, true);
  checkLength('dns_copy.message', value.message.length, 512);
  into.set(value.message, offset + 40);
}

export function decodeDnsCopy(bytes: Uint8Array, offset = 0): DnsCopy {
  const view = viewOf(bytes, offset, 552);
  return {
    server: bytesAt(bytes, offset, 16),
    client: bytesAt(bytes, offset + 16, 16),
    clientPort: view.getUint16(32, false),
    length: view.getUint16(34, true),
    reserved: view.getUint32(36, true),
    message: bytesAt(bytes, offset + 40, 512),
  };
}

/** struct dns_grant */
export interface DnsGrant {
  readonly index: number;
  readonly generation: number;
  readonly expires: number;
}

export const dnsGrantSize = 8;

export const dnsGrantCodec = {
  size: 8,
  offsets: {
    index: 0,
    generation: 2,
    expires: 4,
  },
  encode: encodeDnsGrant,
  decode: decodeDnsGrant,
} as const;

export function encodeDnsGrant(value: DnsGrant, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 8);
  view.setUint16(0, value.index, true);
  view.setUint16(2, value.generation, true);
  view.setUint32(4, value.expires, true);
}

export function decodeDnsGrant(bytes: Uint8Array, offset = 0): DnsGrant {
  const view = viewOf(bytes, offset, 8);
  return {
    index: view.getUint16(0, true),
    generation: view.getUint16(2, true),
    expires: view.getUint32(4, true),
  };
}

/** struct dns_grants */
export interface DnsGrants {
  readonly grants: readonly DnsGrant[];
}

export const dnsGrantsSize = 32;

export const dnsGrantsCodec = {
  size: 32,
  offsets: {
    grants: 0,
  },
  encode: encodeDnsGrants,
  decode: decodeDnsGrants,
} as const;

export function encodeDnsGrants(value: DnsGrants, into: Uint8Array, offset = 0): void {
  checkRoom(into, offset, 32);
  checkLength('dns_grants.grants', value.grants.length, 4);
  for (let i = 0; i < 4; i++) {
    encodeDnsGrant(value.grants[i]!, into, offset + i * 8);
  }
}

export function decodeDnsGrants(bytes: Uint8Array, offset = 0): DnsGrants {
  return {
    grants: Array.from({ length: 4 }, (_, i) => decodeDnsGrant(bytes, offset + i * 8)),
  };
}

/** struct dns_name */
export interface DnsName {
  readonly index: number;
  readonly generation: number;
}

export const dnsNameSize = 4;

export const dnsNameCodec = {
  size: 4,
  offsets: {
    index: 0,
    generation: 2,
  },
  encode: encodeDnsName,
  decode: decodeDnsName,
} as const;

export function encodeDnsName(value: DnsName, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 4);
  view.setUint16(0, value.index, true);
  view.setUint16(2, value.generation, true);
}

export function decodeDnsName(bytes: Uint8Array, offset = 0): DnsName {
  const view = viewOf(bytes, offset, 4);
  return {
    index: view.getUint16(0, true),
    generation: view.getUint16(2, true),
  };
}

/** struct dns_name_class */
export interface DnsNameClass {
  readonly class: number;
  readonly generation: number;
  readonly reserved: number;
}

export const dnsNameClassSize = 8;

export const dnsNameClassCodec = {
  size: 8,
  offsets: {
    class: 0,
    generation: 4,
    reserved: 6,
  },
  encode: encodeDnsNameClass,
  decode: decodeDnsNameClass,
} as const;

export function encodeDnsNameClass(value: DnsNameClass, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 8);
  view.setUint32(0, value.class, true);
  view.setUint16(4, value.generation, true);
  view.setUint16(6, value.reserved, true);
}

export function decodeDnsNameClass(bytes: Uint8Array, offset = 0): DnsNameClass {
  const view = viewOf(bytes, offset, 8);
  return {
    class: view.getUint32(0, true),
    generation: view.getUint16(4, true),
    reserved: view.getUint16(6, true),
  };
}

/** struct dns_name_key */
export interface DnsNameKey {
  readonly prefixLength: number;
  /** 256 bytes. */
  readonly reversed: Uint8Array;
}

export const dnsNameKeySize = 260;

export const dnsNameKeyCodec = {
  size: 260,
  offsets: {
    prefixLength: 0,
    reversed: 4,
  },
  encode: encodeDnsNameKey,
  decode: decodeDnsNameKey,
} as const;

export function encodeDnsNameKey(value: DnsNameKey, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 260);
  view.setUint32(0, value.prefixLength, true);
  checkLength('dns_name_key.reversed', value.reversed.length, 256);
  into.set(value.reversed, offset + 4);
}

export function decodeDnsNameKey(bytes: Uint8Array, offset = 0): DnsNameKey {
  const view = viewOf(bytes, offset, 260);
  return {
    prefixLength: view.getUint32(0, true),
    reversed: bytesAt(bytes, offset + 4, 256),
  };
}

/** struct dns_reader */
export interface DnsReader {
  readonly at: number;
  readonly after: number;
  readonly inLabel: number;
  readonly size: number;
  readonly jumps: number;
  readonly isValid: number;
  readonly hash: bigint;
}

export const dnsReaderSize = 32;

export const dnsReaderCodec = {
  size: 32,
  offsets: {
    at: 0,
    after: 4,
    inLabel: 8,
    size: 12,
    jumps: 16,
    isValid: 20,
    hash: 24,
  },
  encode: encodeDnsReader,
  decode: decodeDnsReader,
} as const;

export function encodeDnsReader(value: DnsReader, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 32);
  view.setUint32(0, value.at, true);
  view.setUint32(4, value.after, true);
  view.setUint32(8, value.inLabel, true);
  view.setUint32(12, value.size, true);
  view.setUint32(16, value.jumps, true);
  view.setUint32(20, value.isValid, true);
  view.setBigUint64(24, value.hash, true);
}

export function decodeDnsReader(bytes: Uint8Array, offset = 0): DnsReader {
  const view = viewOf(bytes, offset, 32);
  return {
    at: view.getUint32(0, true),
    after: view.getUint32(4, true),
    inLabel: view.getUint32(8, true),
    size: view.getUint32(12, true),
    jumps: view.getUint32(16, true),
    isValid: view.getUint32(20, true),
    hash: view.getBigUint64(24, true),
  };
}

/** struct dns_scratch */
export interface DnsScratch {
  /** 4096 bytes. */
  readonly message: Uint8Array;
  /** 256 bytes. */
  readonly text: Uint8Array;
  readonly key: DnsNameKey;
  readonly length: number;
  readonly name: DnsReader;
  readonly first: DnsGrants;
  readonly rule: DnsName;
  readonly current: bigint;
  readonly next: number;
  readonly seconds: number;
  readonly isValid: number;
}

export const dnsScratchSize = 4712;

export const dnsScratchCodec = {
  size: 4712,
  offsets: {
    message: 0,
    text: 4096,
    key: 4352,
    length: 4612,
    name: 4616,
    first: 4648,
    rule: 4680,
    current: 4688,
    next: 4696,
    seconds: 4700,
    isValid: 4704,
  },
  encode: encodeDnsScratch,
  decode: decodeDnsScratch,
} as const;

export function encodeDnsScratch(value: DnsScratch, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 4712);
  checkLength('dns_scratch.message', value.message.length, 4096);
  into.set(value.message, offset);
  checkLength('dns_scratch.text', value.text.length, 256);
  into.set(value.text, offset + 4096);
  encodeDnsNameKey(value.key, into, offset + 4352);
  view.setUint32(4612, value.length, true);
  encodeDnsReader(value.name, into, offset + 4616);
  encodeDnsGrants(value.first, into, offset + 4648);
  encodeDnsName(value.rule, into, offset + 4680);
  view.setBigUint64(4688, value.current, true);
  view.setUint32(4696, value.next, true);
  view.setUint32(4700, value.seconds, true);
  view.setUint32(4704, value.isValid, true);
  into.fill(0, offset + 4684, offset + 4688);
  into.fill(0, offset + 4708, offset + 4712);
}

export function decodeDnsScratch(bytes: Uint8Array, offset = 0): DnsScratch {
  const view = viewOf(bytes, offset, 4712);
  return {
    message: bytesAt(bytes, offset, 4096),
    text: bytesAt(bytes, offset + 4096, 256),
    key: decodeDnsNameKey(bytes, offset + 4352),
    length: view.getUint32(4612, true),
    name: decodeDnsReader(bytes, offset + 4616),
    first: decodeDnsGrants(bytes, offset + 4648),
    rule: decodeDnsName(bytes, offset + 4680),
    current: view.getBigUint64(4688, true),
    next: view.getUint32(4696, true),
    seconds: view.getUint32(4700, true),
    isValid: view.getUint32(4704, true),
  };
}

/** struct dns_state */
export interface DnsState {
  readonly names: number;
  readonly minSeconds: number;
  readonly maxSeconds: number;
  readonly reserved: number;
}

export const dnsStateSize = 16;

export const dnsStateCodec = {
  size: 16,
  offsets: {
    names: 0,
    minSeconds: 4,
    maxSeconds: 8,
    reserved: 12,
  },
  encode: encodeDnsState,
  decode: decodeDnsState,
} as const;

export function encodeDnsState(value: DnsState, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 16);
  view.setUint32(0, value.names, true);
  view.setUint32(4, value.minSeconds, true);
  view.setUint32(8, value.maxSeconds, true);
  view.setUint32(12, value.reserved, true);
}

export function decodeDnsState(bytes: Uint8Array, offset = 0): DnsState {
  const view = viewOf(bytes, offset, 16);
  return {
    names: view.getUint32(0, true),
    minSeconds: view.getUint32(4, true),
    maxSeconds: view.getUint32(8, true),
    reserved: view.getUint32(12, true),
  };
}

/** struct drop_event */
export interface DropEvent {
  readonly tuple: Tuple;
  readonly reason: DropReason;
  readonly ifindex: number;
  readonly length: number;
  readonly rule: number;
  readonly direction: PolicyDirection;
}

export const dropEventSize = 56;

export const dropEventCodec = {
  size: 56,
  offsets: {
    tuple: 0,
    reason: 40,
    ifindex: 44,
    length: 48,
    rule: 52,
    direction: 54,
  },
  encode: encodeDropEvent,
  decode: decodeDropEvent,
} as const;

export function encodeDropEvent(value: DropEvent, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 56);
  encodeTuple(value.tuple, into, offset);
  view.setUint32(40, value.reason, true);
  view.setUint32(44, value.ifindex, true);
  view.setUint32(48, value.length, true);
  view.setUint16(52, value.rule, true);
  view.setUint16(54, value.direction, true);
}

export function decodeDropEvent(bytes: Uint8Array, offset = 0): DropEvent {
  const view = viewOf(bytes, offset, 56);
  return {
    tuple: decodeTuple(bytes, offset),
    reason: view.getUint32(40, true) as DropReason,
    ifindex: view.getUint32(44, true),
    length: view.getUint32(48, true),
    rule: view.getUint16(52, true),
    direction: view.getUint16(54, true) as PolicyDirection,
  };
}

/** enum drop_reason */
export const dropReason = {
  invalidSource: 132,
  policyDefault: 133,
  invalid: 134,
  tooLarge: 136,
  masqueradeProtocol: 137,
  l3Protocol: 139,
  write: 141,
  protocol: 142,
  multicast: 150,
  unknownPort: 151,
  notLocal: 152,
  tableFull: 155,
  extensionHeader: 156,
  fragment: 157,
  noBackend: 158,
  horizon: 162,
  noFlow: 163,
  noPort: 167,
  noRoute: 169,
  tunnel: 170,
  sourceRange: 177,
  policy: 181,
  ttl: 196,
  rateLimited: 198,
} as const;
export type DropReason = (typeof dropReason)[keyof typeof dropReason];

/** struct evictable_group */
export interface EvictableGroup {
  readonly entries: readonly bigint[];
}

export const evictableGroupSize = 64;

export const evictableGroupCodec = {
  size: 64,
  offsets: {
    entries: 0,
  },
  encode: encodeEvictableGroup,
  decode: decodeEvictableGroup,
} as const;

export function encodeEvictableGroup(value: EvictableGroup, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 64);
  checkLength('evictable_group.entries', value.entries.length, 8);
  for (let i = 0; i < 8; i++) {
    view.setBigUint64(i * 8, value.entries[i]!, true);
  }
}

export function decodeEvictableGroup(bytes: Uint8Array, offset = 0): EvictableGroup {
  const view = viewOf(bytes, offset, 64);
  return {
    entries: Array.from({ length: 8 }, (_, i) => view.getBigUint64(i * 8, true)),
  };
}

/** struct flow_cache_block */
export interface FlowCacheBlock {
  readonly entries: readonly FlowCacheEntry[];
}

export const flowCacheBlockSize = 2048;

export const flowCacheBlockCodec = {
  size: 2048,
  offsets: {
    entries: 0,
  },
  encode: encodeFlowCacheBlock,
  decode: decodeFlowCacheBlock,
} as const;

export function encodeFlowCacheBlock(value: FlowCacheBlock, into: Uint8Array, offset = 0): void {
  checkRoom(into, offset, 2048);
  checkLength('flow_cache_block.entries', value.entries.length, 64);
  for (let i = 0; i < 64; i++) {
    encodeFlowCacheEntry(value.entries[i]!, into, offset + i * 32);
  }
}

export function decodeFlowCacheBlock(bytes: Uint8Array, offset = 0): FlowCacheBlock {
  return {
    entries: Array.from({ length: 64 }, (_, i) => decodeFlowCacheEntry(bytes, offset + i * 32)),
  };
}

/** struct flow_cache_entry */
export interface FlowCacheEntry {
  readonly tag: number;
  readonly reference: number;
  readonly epoch: number;
  readonly ifindex: number;
  readonly mtu: number;
  /** 6 bytes. */
  readonly dmac: Uint8Array;
  /** 6 bytes. */
  readonly smac: Uint8Array;
  /** 2 bytes. */
  readonly unused: Uint8Array;
}

export const flowCacheEntrySize = 32;

export const flowCacheEntryCodec = {
  size: 32,
  offsets: {
    tag: 0,
    reference: 4,
    epoch: 8,
    ifindex: 12,
    mtu: 16,
    dmac: 18,
    smac: 24,
    unused: 30,
  },
  encode: encodeFlowCacheEntry,
  decode: decodeFlowCacheEntry,
} as const;

export function encodeFlowCacheEntry(value: FlowCacheEntry, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 32);
  view.setUint32(0, value.tag, true);
  view.setUint32(4, value.reference, true);
  view.setUint32(8, value.epoch, true);
  view.setUint32(12, value.ifindex, true);
  view.setUint16(16, value.mtu, true);
  checkLength('flow_cache_entry.dmac', value.dmac.length, 6);
  into.set(value.dmac, offset + 18);
  checkLength('flow_cache_entry.smac', value.smac.length, 6);
  into.set(value.smac, offset + 24);
  checkLength('flow_cache_entry.unused', value.unused.length, 2);
  into.set(value.unused, offset + 30);
}

export function decodeFlowCacheEntry(bytes: Uint8Array, offset = 0): FlowCacheEntry {
  const view = viewOf(bytes, offset, 32);
  return {
    tag: view.getUint32(0, true),
    reference: view.getUint32(4, true),
    epoch: view.getUint32(8, true),
    ifindex: view.getUint32(12, true),
    mtu: view.getUint16(16, true),
    dmac: bytesAt(bytes, offset + 18, 6),
    smac: bytesAt(bytes, offset + 24, 6),
    unused: bytesAt(bytes, offset + 30, 2),
  };
}

/** struct fragment_key */
export interface FragmentKey {
  /** 16 bytes. */
  readonly source: Uint8Array;
  /** 16 bytes. */
  readonly destination: Uint8Array;
  readonly id: number;
  readonly protocol: number;
}

export const fragmentKeySize = 40;

export const fragmentKeyCodec = {
  size: 40,
  offsets: {
    source: 0,
    destination: 16,
    id: 32,
    protocol: 36,
  },
  encode: encodeFragmentKey,
  decode: decodeFragmentKey,
} as const;

export function encodeFragmentKey(value: FragmentKey, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 40);
  checkLength('fragment_key.source', value.source.length, 16);
  into.set(value.source, offset);
  checkLength('fragment_key.destination', value.destination.length, 16);
  into.set(value.destination, offset + 16);
  view.setUint32(32, value.id, true);
  view.setUint32(36, value.protocol, true);
}

export function decodeFragmentKey(bytes: Uint8Array, offset = 0): FragmentKey {
  const view = viewOf(bytes, offset, 40);
  return {
    source: bytesAt(bytes, offset, 16),
    destination: bytesAt(bytes, offset + 16, 16),
    id: view.getUint32(32, true),
    protocol: view.getUint32(36, true),
  };
}

/** struct fragment_ports */
export interface FragmentPorts {
  /** Network byte order in the struct, host order here. */
  readonly sourcePort: number;
  /** Network byte order in the struct, host order here. */
  readonly destinationPort: number;
}

export const fragmentPortsSize = 4;

export const fragmentPortsCodec = {
  size: 4,
  offsets: {
    sourcePort: 0,
    destinationPort: 2,
  },
  encode: encodeFragmentPorts,
  decode: decodeFragmentPorts,
} as const;

export function encodeFragmentPorts(value: FragmentPorts, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 4);
  view.setUint16(0, value.sourcePort, false);
  view.setUint16(2, value.destinationPort, false);
}

export function decodeFragmentPorts(bytes: Uint8Array, offset = 0): FragmentPorts {
  const view = viewOf(bytes, offset, 4);
  return {
    sourcePort: view.getUint16(0, false),
    destinationPort: view.getUint16(2, false),
  };
}

/** enum heddle_abi */
export const heddleAbi = {
  currentAbi: 3,
} as const;
export type HeddleAbi = (typeof heddleAbi)[keyof typeof heddleAbi];

/** enum interface_role */
export const interfaceRole = {
  external: 1,
  pod: 2,
} as const;
export type InterfaceRole = (typeof interfaceRole)[keyof typeof interfaceRole];

/** struct kernel_fields */
export interface KernelFields {
  readonly known: number;
  readonly contextSocket: number;
  readonly socketNet: number;
  readonly netDevices: number;
  readonly deviceList: number;
  readonly deviceFlags: number;
  readonly deviceIpv4: number;
  readonly deviceIpv6: number;
  readonly ipv4Addresses: number;
  readonly ipv4Next: number;
  readonly ipv4Address: number;
  readonly ipv4Scope: number;
  readonly ipv6Addresses: number;
  readonly ipv6List: number;
  readonly ipv6Address: number;
  readonly ipv6Scope: number;
}

export const kernelFieldsSize = 64;

export const kernelFieldsCodec = {
  size: 64,
  offsets: {
    known: 0,
    contextSocket: 4,
    socketNet: 8,
    netDevices: 12,
    deviceList: 16,
    deviceFlags: 20,
    deviceIpv4: 24,
    deviceIpv6: 28,
    ipv4Addresses: 32,
    ipv4Next: 36,
    ipv4Address: 40,
    ipv4Scope: 44,
    ipv6Addresses: 48,
    ipv6List: 52,
    ipv6Address: 56,
    ipv6Scope: 60,
  },
  encode: encodeKernelFields,
  decode: decodeKernelFields,
} as const;

export function encodeKernelFields(value: KernelFields, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 64);
  view.setUint32(0, value.known, true);
  view.setUint32(4, value.contextSocket, true);
  view.setUint32(8, value.socketNet, true);
  view.setUint32(12, value.netDevices, true);
  view.setUint32(16, value.deviceList, true);
  view.setUint32(20, value.deviceFlags, true);
  view.setUint32(24, value.deviceIpv4, true);
  view.setUint32(28, value.deviceIpv6, true);
  view.setUint32(32, value.ipv4Addresses, true);
  view.setUint32(36, value.ipv4Next, true);
  view.setUint32(40, value.ipv4Address, true);
  view.setUint32(44, value.ipv4Scope, true);
  view.setUint32(48, value.ipv6Addresses, true);
  view.setUint32(52, value.ipv6List, true);
  view.setUint32(56, value.ipv6Address, true);
  view.setUint32(60, value.ipv6Scope, true);
}

export function decodeKernelFields(bytes: Uint8Array, offset = 0): KernelFields {
  const view = viewOf(bytes, offset, 64);
  return {
    known: view.getUint32(0, true),
    contextSocket: view.getUint32(4, true),
    socketNet: view.getUint32(8, true),
    netDevices: view.getUint32(12, true),
    deviceList: view.getUint32(16, true),
    deviceFlags: view.getUint32(20, true),
    deviceIpv4: view.getUint32(24, true),
    deviceIpv6: view.getUint32(28, true),
    ipv4Addresses: view.getUint32(32, true),
    ipv4Next: view.getUint32(36, true),
    ipv4Address: view.getUint32(40, true),
    ipv4Scope: view.getUint32(44, true),
    ipv6Addresses: view.getUint32(48, true),
    ipv6List: view.getUint32(52, true),
    ipv6Address: view.getUint32(56, true),
    ipv6Scope: view.getUint32(60, true),
  };
}

/** enum masquerade */
export const masquerade = {
  never: 1,
  always: 2,
} as const;
export type Masquerade = (typeof masquerade)[keyof typeof masquerade];

/** struct name_classes */
export interface NameClasses {
  readonly classes: readonly number[];
}

export const nameClassesSize = 16;

export const nameClassesCodec = {
  size: 16,
  offsets: {
    classes: 0,
  },
  encode: encodeNameClasses,
  decode: decodeNameClasses,
} as const;

export function encodeNameClasses(value: NameClasses, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 16);
  checkLength('name_classes.classes', value.classes.length, 4);
  for (let i = 0; i < 4; i++) {
    view.setUint32(i * 4, value.classes[i]!, true);
  }
}

export function decodeNameClasses(bytes: Uint8Array, offset = 0): NameClasses {
  const view = viewOf(bytes, offset, 16);
  return {
    classes: Array.from({ length: 4 }, (_, i) => view.getUint32(i * 4, true)),
  };
}

/** struct narrow_path */
export interface NarrowPath {
  /** 16 bytes. */
  readonly client: Uint8Array;
  /** 16 bytes. */
  readonly backend: Uint8Array;
}

export const narrowPathSize = 32;

export const narrowPathCodec = {
  size: 32,
  offsets: {
    client: 0,
    backend: 16,
  },
  encode: encodeNarrowPath,
  decode: decodeNarrowPath,
} as const;

export function encodeNarrowPath(value: NarrowPath, into: Uint8Array, offset = 0): void {
  checkRoom(into, offset, 32);
  checkLength('narrow_path.client', value.client.length, 16);
  into.set(value.client, offset);
  checkLength('narrow_path.backend', value.backend.length, 16);
  into.set(value.backend, offset + 16);
}

export function decodeNarrowPath(bytes: Uint8Array, offset = 0): NarrowPath {
  return {
    client: bytesAt(bytes, offset, 16),
    backend: bytesAt(bytes, offset + 16, 16),
  };
}

/** struct node_config */
export interface NodeConfig {
  readonly flows: number;
  readonly unconfirmedLimit: number;
  readonly firstPort: number;
  readonly portCount: number;
  readonly portStride: number;
  readonly tunnelAge: number;
  readonly timeouts: readonly number[];
  readonly cacheKey: readonly bigint[];
  readonly visibility: number;
}

export const nodeConfigSize = 80;

export const nodeConfigCodec = {
  size: 80,
  offsets: {
    flows: 0,
    unconfirmedLimit: 4,
    firstPort: 8,
    portCount: 12,
    portStride: 16,
    tunnelAge: 20,
    timeouts: 24,
    cacheKey: 56,
    visibility: 72,
  },
  encode: encodeNodeConfig,
  decode: decodeNodeConfig,
} as const;

export function encodeNodeConfig(value: NodeConfig, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 80);
  view.setUint32(0, value.flows, true);
  view.setUint32(4, value.unconfirmedLimit, true);
  view.setUint32(8, value.firstPort, true);
  view.setUint32(12, value.portCount, true);
  view.setUint32(16, value.portStride, true);
  view.setUint32(20, value.tunnelAge, true);
  checkLength('node_config.timeouts', value.timeouts.length, 16);
  for (let i = 0; i < 16; i++) {
    view.setUint16(24 + i * 2, value.timeouts[i]!, true);
  }
  checkLength('node_config.cache_key', value.cacheKey.length, 2);
  for (let i = 0; i < 2; i++) {
    view.setBigUint64(56 + i * 8, value.cacheKey[i]!, true);
  }
  view.setUint32(72, value.visibility, true);
  into.fill(0, offset + 76, offset + 80);
}

export function decodeNodeConfig(bytes: Uint8Array, offset = 0): NodeConfig {
  const view = viewOf(bytes, offset, 80);
  return {
    flows: view.getUint32(0, true),
    unconfirmedLimit: view.getUint32(4, true),
    firstPort: view.getUint32(8, true),
    portCount: view.getUint32(12, true),
    portStride: view.getUint32(16, true),
    tunnelAge: view.getUint32(20, true),
    timeouts: Array.from({ length: 16 }, (_, i) => view.getUint16(24 + i * 2, true)),
    cacheKey: Array.from({ length: 2 }, (_, i) => view.getBigUint64(56 + i * 8, true)),
    visibility: view.getUint32(72, true),
  };
}

/** enum node_path */
export const nodePath = {
  direct: 1,
  tunnelIpv4: 2,
  tunnelIpv6: 3,
} as const;
export type NodePath = (typeof nodePath)[keyof typeof nodePath];

/** struct origin */
export interface Origin {
  /** 16 bytes. */
  readonly frontend: Uint8Array;
  /** 16 bytes. */
  readonly backendAddress: Uint8Array;
  /** Network byte order in the struct, host order here. */
  readonly frontendPort: number;
  /** Network byte order in the struct, host order here. */
  readonly backendPort: number;
  readonly backend: number;
  readonly generation: number;
  readonly service: number;
}

export const originSize = 48;

export const originCodec = {
  size: 48,
  offsets: {
    frontend: 0,
    backendAddress: 16,
    frontendPort: 32,
    backendPort: 34,
    backend: 36,
    generation: 40,
    service: 44,
  },
  encode: encodeOrigin,
  decode: decodeOrigin,
} as const;

export function encodeOrigin(value: Origin, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 48);
  checkLength('origin.frontend', value.frontend.length, 16);
  into.set(value.frontend, offset);
  checkLength('origin.backend_address', value.backendAddress.length, 16);
  into.set(value.backendAddress, offset + 16);
  view.setUint16(32, value.frontendPort, false);
  view.setUint16(34, value.backendPort, false);
  view.setUint32(36, value.backend, true);
  view.setUint32(40, value.generation, true);
  view.setUint32(44, value.service, true);
}

export function decodeOrigin(bytes: Uint8Array, offset = 0): Origin {
  const view = viewOf(bytes, offset, 48);
  return {
    frontend: bytesAt(bytes, offset, 16),
    backendAddress: bytesAt(bytes, offset + 16, 16),
    frontendPort: view.getUint16(32, false),
    backendPort: view.getUint16(34, false),
    backend: view.getUint32(36, true),
    generation: view.getUint32(40, true),
    service: view.getUint32(44, true),
  };
}

/** struct pod */
export interface Pod {
  /** 16 bytes. */
  readonly address: Uint8Array;
  readonly ifindex: number;
  /** 6 bytes. */
  readonly mac: Uint8Array;
  readonly mtu: number;
  readonly kind: PodKind;
  readonly rates: number;
  readonly egressSubject: number;
  readonly ingressSubject: number;
  readonly netns: number;
  readonly reserved: readonly number[];
}

export const podSize = 64;

export const podCodec = {
  size: 64,
  offsets: {
    address: 0,
    ifindex: 16,
    mac: 20,
    mtu: 26,
    kind: 28,
    rates: 32,
    egressSubject: 36,
    ingressSubject: 40,
    netns: 44,
    reserved: 48,
  },
  encode: encodePod,
  decode: decodePod,
} as const;

export function encodePod(value: Pod, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 64);
  checkLength('pod.address', value.address.length, 16);
  into.set(value.address, offset);
  view.setUint32(16, value.ifindex, true);
  checkLength('pod.mac', value.mac.length, 6);
  into.set(value.mac, offset + 20);
  view.setUint16(26, value.mtu, true);
  view.setUint32(28, value.kind, true);
  view.setUint32(32, value.rates, true);
  view.setUint32(36, value.egressSubject, true);
  view.setUint32(40, value.ingressSubject, true);
  view.setUint32(44, value.netns, true);
  checkLength('pod.reserved', value.reserved.length, 4);
  for (let i = 0; i < 4; i++) {
    view.setUint32(48 + i * 4, value.reserved[i]!, true);
  }
}

export function decodePod(bytes: Uint8Array, offset = 0): Pod {
  const view = viewOf(bytes, offset, 64);
  return {
    address: bytesAt(bytes, offset, 16),
    ifindex: view.getUint32(16, true),
    mac: bytesAt(bytes, offset + 20, 6),
    mtu: view.getUint16(26, true),
    kind: view.getUint32(28, true) as PodKind,
    rates: view.getUint32(32, true),
    egressSubject: view.getUint32(36, true),
    ingressSubject: view.getUint32(40, true),
    netns: view.getUint32(44, true),
    reserved: Array.from({ length: 4 }, (_, i) => view.getUint32(48 + i * 4, true)),
  };
}

/** struct pod_config */
export interface PodConfig {
  readonly places: number;
  readonly devicePlaces: number;
  readonly enabled: number;
  /** Network byte order in the struct, host order here. */
  readonly tunnelPort: number;
  /** 6 bytes. */
  readonly gatewayMac: Uint8Array;
  readonly kind: number;
}

export const podConfigSize = 20;

export const podConfigCodec = {
  size: 20,
  offsets: {
    places: 0,
    devicePlaces: 4,
    enabled: 8,
    tunnelPort: 10,
    gatewayMac: 12,
    kind: 18,
  },
  encode: encodePodConfig,
  decode: decodePodConfig,
} as const;

export function encodePodConfig(value: PodConfig, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 20);
  view.setUint32(0, value.places, true);
  view.setUint32(4, value.devicePlaces, true);
  view.setUint16(8, value.enabled, true);
  view.setUint16(10, value.tunnelPort, false);
  checkLength('pod_config.gateway_mac', value.gatewayMac.length, 6);
  into.set(value.gatewayMac, offset + 12);
  view.setUint16(18, value.kind, true);
}

export function decodePodConfig(bytes: Uint8Array, offset = 0): PodConfig {
  const view = viewOf(bytes, offset, 20);
  return {
    places: view.getUint32(0, true),
    devicePlaces: view.getUint32(4, true),
    enabled: view.getUint16(8, true),
    tunnelPort: view.getUint16(10, false),
    gatewayMac: bytesAt(bytes, offset + 12, 6),
    kind: view.getUint16(18, true),
  };
}

/** struct pod_device */
export interface PodDevice {
  readonly ifindex: number;
  /** 6 bytes. */
  readonly mac: Uint8Array;
  readonly mtu: number;
  /** 16 bytes. */
  readonly ipv4: Uint8Array;
  /** 16 bytes. */
  readonly ipv6: Uint8Array;
  readonly kind: PodKind;
  readonly rates: number;
  readonly hasPolicy: number;
  readonly reserved: readonly number[];
}

export const podDeviceSize = 64;

export const podDeviceCodec = {
  size: 64,
  offsets: {
    ifindex: 0,
    mac: 4,
    mtu: 10,
    ipv4: 12,
    ipv6: 28,
    kind: 44,
    rates: 48,
    hasPolicy: 52,
    reserved: 56,
  },
  encode: encodePodDevice,
  decode: decodePodDevice,
} as const;

export function encodePodDevice(value: PodDevice, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 64);
  view.setUint32(0, value.ifindex, true);
  checkLength('pod_device.mac', value.mac.length, 6);
  into.set(value.mac, offset + 4);
  view.setUint16(10, value.mtu, true);
  checkLength('pod_device.ipv4', value.ipv4.length, 16);
  into.set(value.ipv4, offset + 12);
  checkLength('pod_device.ipv6', value.ipv6.length, 16);
  into.set(value.ipv6, offset + 28);
  view.setUint32(44, value.kind, true);
  view.setUint32(48, value.rates, true);
  view.setUint32(52, value.hasPolicy, true);
  checkLength('pod_device.reserved', value.reserved.length, 2);
  for (let i = 0; i < 2; i++) {
    view.setUint32(56 + i * 4, value.reserved[i]!, true);
  }
}

export function decodePodDevice(bytes: Uint8Array, offset = 0): PodDevice {
  const view = viewOf(bytes, offset, 64);
  return {
    ifindex: view.getUint32(0, true),
    mac: bytesAt(bytes, offset + 4, 6),
    mtu: view.getUint16(10, true),
    ipv4: bytesAt(bytes, offset + 12, 16),
    ipv6: bytesAt(bytes, offset + 28, 16),
    kind: view.getUint32(44, true) as PodKind,
    rates: view.getUint32(48, true),
    hasPolicy: view.getUint32(52, true),
    reserved: Array.from({ length: 2 }, (_, i) => view.getUint32(56 + i * 4, true)),
  };
}

/** enum pod_kind */
export const podKind = {
  veth: 0,
  netkit: 1,
} as const;
export type PodKind = (typeof podKind)[keyof typeof podKind];

/** struct pod_rates */
export interface PodRates {
  readonly egress: Rate;
  readonly ingress: Rate;
  readonly local: Rate;
  readonly isPaced: number;
  readonly reserved: readonly number[];
}

export const podRatesSize = 64;

export const podRatesCodec = {
  size: 64,
  offsets: {
    egress: 0,
    ingress: 16,
    local: 32,
    isPaced: 48,
    reserved: 52,
  },
  encode: encodePodRates,
  decode: decodePodRates,
} as const;

export function encodePodRates(value: PodRates, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 64);
  encodeRate(value.egress, into, offset);
  encodeRate(value.ingress, into, offset + 16);
  encodeRate(value.local, into, offset + 32);
  view.setUint32(48, value.isPaced, true);
  checkLength('pod_rates.reserved', value.reserved.length, 3);
  for (let i = 0; i < 3; i++) {
    view.setUint32(52 + i * 4, value.reserved[i]!, true);
  }
}

export function decodePodRates(bytes: Uint8Array, offset = 0): PodRates {
  const view = viewOf(bytes, offset, 64);
  return {
    egress: decodeRate(bytes, offset),
    ingress: decodeRate(bytes, offset + 16),
    local: decodeRate(bytes, offset + 32),
    isPaced: view.getUint32(48, true),
    reserved: Array.from({ length: 3 }, (_, i) => view.getUint32(52 + i * 4, true)),
  };
}

/** enum policy_action */
export const policyAction = {
  allow: 1,
  deny: 2,
  pass: 3,
} as const;
export type PolicyAction = (typeof policyAction)[keyof typeof policyAction];

/** enum policy_deny_response */
export const policyDenyResponse = {
  silent: 0,
  icmp: 1,
  reset: 2,
} as const;
export type PolicyDenyResponse = (typeof policyDenyResponse)[keyof typeof policyDenyResponse];

/** enum policy_direction */
export const policyDirection = {
  egress: 0,
  ingress: 1,
} as const;
export type PolicyDirection = (typeof policyDirection)[keyof typeof policyDirection];

/** enum policy_outcome */
export const policyOutcome = {
  allowed: 1,
  denied: 2,
  wouldDeny: 3,
} as const;
export type PolicyOutcome = (typeof policyOutcome)[keyof typeof policyOutcome];

/** enum policy_port_class */
export const policyPortClass = {
  other: 0,
  tcp: 1,
  udp: 2,
  sctp: 3,
  first: 4,
} as const;
export type PolicyPortClass = (typeof policyPortClass)[keyof typeof policyPortClass];

/** struct policy_rule */
export interface PolicyRule {
  readonly connections: bigint;
  readonly action: PolicyAction;
  readonly response: number;
  readonly policy: number;
}

export const policyRuleSize = 16;

export const policyRuleCodec = {
  size: 16,
  offsets: {
    connections: 0,
    action: 8,
    response: 10,
    policy: 12,
  },
  encode: encodePolicyRule,
  decode: decodePolicyRule,
} as const;

export function encodePolicyRule(value: PolicyRule, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 16);
  view.setBigUint64(0, value.connections, true);
  view.setUint16(8, value.action, true);
  view.setUint16(10, value.response, true);
  view.setUint32(12, value.policy, true);
}

export function decodePolicyRule(bytes: Uint8Array, offset = 0): PolicyRule {
  const view = viewOf(bytes, offset, 16);
  return {
    connections: view.getBigUint64(0, true),
    action: view.getUint16(8, true) as PolicyAction,
    response: view.getUint16(10, true),
    policy: view.getUint32(12, true),
  };
}

/** struct policy_state */
export interface PolicyState {
  readonly epoch: number;
  readonly networkWord: number;
  readonly baselineWord: number;
  readonly keepsOpen: number;
  readonly denyResponse: PolicyDenyResponse;
  readonly watched: number;
  readonly reserved: readonly number[];
}

export const policyStateSize = 32;

export const policyStateCodec = {
  size: 32,
  offsets: {
    epoch: 0,
    networkWord: 4,
    baselineWord: 6,
    keepsOpen: 8,
    denyResponse: 12,
    watched: 16,
    reserved: 20,
  },
  encode: encodePolicyState,
  decode: decodePolicyState,
} as const;

export function encodePolicyState(value: PolicyState, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 32);
  view.setUint32(0, value.epoch, true);
  view.setUint16(4, value.networkWord, true);
  view.setUint16(6, value.baselineWord, true);
  view.setUint32(8, value.keepsOpen, true);
  view.setUint32(12, value.denyResponse, true);
  view.setUint32(16, value.watched, true);
  checkLength('policy_state.reserved', value.reserved.length, 3);
  for (let i = 0; i < 3; i++) {
    view.setUint32(20 + i * 4, value.reserved[i]!, true);
  }
}

export function decodePolicyState(bytes: Uint8Array, offset = 0): PolicyState {
  const view = viewOf(bytes, offset, 32);
  return {
    epoch: view.getUint32(0, true),
    networkWord: view.getUint16(4, true),
    baselineWord: view.getUint16(6, true),
    keepsOpen: view.getUint32(8, true),
    denyResponse: view.getUint32(12, true) as PolicyDenyResponse,
    watched: view.getUint32(16, true),
    reserved: Array.from({ length: 3 }, (_, i) => view.getUint32(20 + i * 4, true)),
  };
}

/** struct policy_subject */
export interface PolicySubject {
  readonly rules: PolicyVector;
  readonly flags: number;
  readonly audit: number;
  readonly defaultDenied: bigint;
  readonly reserved: bigint;
}

export const policySubjectSize = 544;

export const policySubjectCodec = {
  size: 544,
  offsets: {
    rules: 0,
    flags: 520,
    audit: 524,
    defaultDenied: 528,
    reserved: 536,
  },
  encode: encodePolicySubject,
  decode: decodePolicySubject,
} as const;

export function encodePolicySubject(value: PolicySubject, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 544);
  encodePolicyVector(value.rules, into, offset);
  view.setUint32(520, value.flags, true);
  view.setUint32(524, value.audit, true);
  view.setBigUint64(528, value.defaultDenied, true);
  view.setBigUint64(536, value.reserved, true);
}

export function decodePolicySubject(bytes: Uint8Array, offset = 0): PolicySubject {
  const view = viewOf(bytes, offset, 544);
  return {
    rules: decodePolicyVector(bytes, offset),
    flags: view.getUint32(520, true),
    audit: view.getUint32(524, true),
    defaultDenied: view.getBigUint64(528, true),
    reserved: view.getBigUint64(536, true),
  };
}

/** struct policy_vector */
export interface PolicyVector {
  readonly summary: bigint;
  readonly words: readonly bigint[];
}

export const policyVectorSize = 520;

export const policyVectorCodec = {
  size: 520,
  offsets: {
    summary: 0,
    words: 8,
  },
  encode: encodePolicyVector,
  decode: decodePolicyVector,
} as const;

export function encodePolicyVector(value: PolicyVector, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 520);
  view.setBigUint64(0, value.summary, true);
  checkLength('policy_vector.words', value.words.length, 64);
  for (let i = 0; i < 64; i++) {
    view.setBigUint64(8 + i * 8, value.words[i]!, true);
  }
}

export function decodePolicyVector(bytes: Uint8Array, offset = 0): PolicyVector {
  const view = viewOf(bytes, offset, 520);
  return {
    summary: view.getBigUint64(0, true),
    words: Array.from({ length: 64 }, (_, i) => view.getBigUint64(8 + i * 8, true)),
  };
}

/** struct policy_verdict */
export interface PolicyVerdict {
  readonly tuple: Tuple;
  readonly ifindex: number;
  readonly outcome: PolicyOutcome;
  readonly direction: PolicyDirection;
  readonly egressRule: number;
  readonly ingressRule: number;
  readonly subject: number;
}

export const policyVerdictSize = 56;

export const policyVerdictCodec = {
  size: 56,
  offsets: {
    tuple: 0,
    ifindex: 40,
    outcome: 44,
    direction: 46,
    egressRule: 48,
    ingressRule: 50,
    subject: 52,
  },
  encode: encodePolicyVerdict,
  decode: decodePolicyVerdict,
} as const;

export function encodePolicyVerdict(value: PolicyVerdict, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 56);
  encodeTuple(value.tuple, into, offset);
  view.setUint32(40, value.ifindex, true);
  view.setUint16(44, value.outcome, true);
  view.setUint16(46, value.direction, true);
  view.setUint16(48, value.egressRule, true);
  view.setUint16(50, value.ingressRule, true);
  view.setUint32(52, value.subject, true);
}

export function decodePolicyVerdict(bytes: Uint8Array, offset = 0): PolicyVerdict {
  const view = viewOf(bytes, offset, 56);
  return {
    tuple: decodeTuple(bytes, offset),
    ifindex: view.getUint32(40, true),
    outcome: view.getUint16(44, true) as PolicyOutcome,
    direction: view.getUint16(46, true) as PolicyDirection,
    egressRule: view.getUint16(48, true),
    ingressRule: view.getUint16(50, true),
    subject: view.getUint32(52, true),
  };
}

/** struct port_search */
export interface PortSearch {
  readonly next: number;
  readonly exhaustedAt: number;
  readonly backend: number;
}

export const portSearchSize = 12;

export const portSearchCodec = {
  size: 12,
  offsets: {
    next: 0,
    exhaustedAt: 4,
    backend: 8,
  },
  encode: encodePortSearch,
  decode: decodePortSearch,
} as const;

export function encodePortSearch(value: PortSearch, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 12);
  view.setUint32(0, value.next, true);
  view.setUint32(4, value.exhaustedAt, true);
  view.setUint32(8, value.backend, true);
}

export function decodePortSearch(bytes: Uint8Array, offset = 0): PortSearch {
  const view = viewOf(bytes, offset, 12);
  return {
    next: view.getUint32(0, true),
    exhaustedAt: view.getUint32(4, true),
    backend: view.getUint32(8, true),
  };
}

/** struct range_key */
export interface RangeKey {
  readonly prefixLength: number;
  /** 16 bytes. */
  readonly address: Uint8Array;
}

export const rangeKeySize = 20;

export const rangeKeyCodec = {
  size: 20,
  offsets: {
    prefixLength: 0,
    address: 4,
  },
  encode: encodeRangeKey,
  decode: decodeRangeKey,
} as const;

export function encodeRangeKey(value: RangeKey, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 20);
  view.setUint32(0, value.prefixLength, true);
  checkLength('range_key.address', value.address.length, 16);
  into.set(value.address, offset + 4);
}

export function decodeRangeKey(bytes: Uint8Array, offset = 0): RangeKey {
  const view = viewOf(bytes, offset, 20);
  return {
    prefixLength: view.getUint32(0, true),
    address: bytesAt(bytes, offset + 4, 16),
  };
}

/** struct rate */
export interface Rate {
  readonly bytesPerSecond: bigint;
  readonly next: bigint;
}

export const rateSize = 16;

export const rateCodec = {
  size: 16,
  offsets: {
    bytesPerSecond: 0,
    next: 8,
  },
  encode: encodeRate,
  decode: decodeRate,
} as const;

export function encodeRate(value: Rate, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 16);
  view.setBigUint64(0, value.bytesPerSecond, true);
  view.setBigUint64(8, value.next, true);
}

export function decodeRate(bytes: Uint8Array, offset = 0): Rate {
  const view = viewOf(bytes, offset, 16);
  return {
    bytesPerSecond: view.getBigUint64(0, true),
    next: view.getBigUint64(8, true),
  };
}

/** enum refusal_reason */
export const refusalReason = {
  invalidSource: 132,
  unknownPort: 151,
  noBackend: 158,
  sourceRange: 177,
} as const;
export type RefusalReason = (typeof refusalReason)[keyof typeof refusalReason];

/** struct remote_node */
export interface RemoteNode {
  /** 16 bytes. */
  readonly ipv6: Uint8Array;
  /** Network byte order in the struct, host order here. */
  readonly ipv4: number;
  readonly path: NodePath;
}

export const remoteNodeSize = 24;

export const remoteNodeCodec = {
  size: 24,
  offsets: {
    ipv6: 0,
    ipv4: 16,
    path: 20,
  },
  encode: encodeRemoteNode,
  decode: decodeRemoteNode,
} as const;

export function encodeRemoteNode(value: RemoteNode, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 24);
  checkLength('remote_node.ipv6', value.ipv6.length, 16);
  into.set(value.ipv6, offset);
  view.setUint32(16, value.ipv4, false);
  view.setUint32(20, value.path, true);
}

export function decodeRemoteNode(bytes: Uint8Array, offset = 0): RemoteNode {
  const view = viewOf(bytes, offset, 24);
  return {
    ipv6: bytesAt(bytes, offset, 16),
    ipv4: view.getUint32(16, false),
    path: view.getUint32(20, true) as NodePath,
  };
}

/** enum reply */
export const reply = {
  none: 0,
  awaited: 1,
  wasConnected: 2,
} as const;
export type Reply = (typeof reply)[keyof typeof reply];

/** struct service */
export interface Service {
  readonly id: number;
  readonly firstSlot: number;
  readonly slotCount: number;
  readonly affinitySeconds: number;
  readonly algorithm: ServiceAlgorithm;
  readonly cursor: number;
  readonly flags: ServiceFlags;
}

export const serviceSize = 28;

export const serviceCodec = {
  size: 28,
  offsets: {
    id: 0,
    firstSlot: 4,
    slotCount: 8,
    affinitySeconds: 12,
    algorithm: 16,
    cursor: 20,
    flags: 24,
  },
  encode: encodeService,
  decode: decodeService,
} as const;

export function encodeService(value: Service, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 28);
  view.setUint32(0, value.id, true);
  view.setUint32(4, value.firstSlot, true);
  view.setUint32(8, value.slotCount, true);
  view.setUint32(12, value.affinitySeconds, true);
  view.setUint32(16, value.algorithm, true);
  view.setUint32(20, value.cursor, true);
  view.setUint32(24, value.flags, true);
}

export function decodeService(bytes: Uint8Array, offset = 0): Service {
  const view = viewOf(bytes, offset, 28);
  return {
    id: view.getUint32(0, true),
    firstSlot: view.getUint32(4, true),
    slotCount: view.getUint32(8, true),
    affinitySeconds: view.getUint32(12, true),
    algorithm: view.getUint32(16, true) as ServiceAlgorithm,
    cursor: view.getUint32(20, true),
    flags: view.getUint32(24, true) as ServiceFlags,
  };
}

/** enum service_algorithm */
export const serviceAlgorithm = {
  random: 0,
  roundRobin: 1,
  leastConnections: 2,
  hash: 3,
} as const;
export type ServiceAlgorithm = (typeof serviceAlgorithm)[keyof typeof serviceAlgorithm];

/** enum service_flags */
export const serviceFlags = {
  noFlags: 0,
  dropIfEmpty: 1,
  dsr: 2,
  hostPort: 4,
  sourceRanges: 8,
  internalSourceRanges: 16,
} as const;
export type ServiceFlags = (typeof serviceFlags)[keyof typeof serviceFlags];

/** struct service_key */
export interface ServiceKey {
  /** 16 bytes. */
  readonly address: Uint8Array;
  /** Network byte order in the struct, host order here. */
  readonly port: number;
  readonly protocol: number;
  readonly scope: ServiceScope;
}

export const serviceKeySize = 20;

export const serviceKeyCodec = {
  size: 20,
  offsets: {
    address: 0,
    port: 16,
    protocol: 18,
    scope: 19,
  },
  encode: encodeServiceKey,
  decode: decodeServiceKey,
} as const;

export function encodeServiceKey(value: ServiceKey, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 20);
  checkLength('service_key.address', value.address.length, 16);
  into.set(value.address, offset);
  view.setUint16(16, value.port, false);
  view.setUint8(18, value.protocol);
  view.setUint8(19, value.scope);
}

export function decodeServiceKey(bytes: Uint8Array, offset = 0): ServiceKey {
  const view = viewOf(bytes, offset, 20);
  return {
    address: bytesAt(bytes, offset, 16),
    port: view.getUint16(16, false),
    protocol: view.getUint8(18),
    scope: view.getUint8(19) as ServiceScope,
  };
}

/** struct service_refusal */
export interface ServiceRefusal {
  readonly service: number;
  readonly reason: number;
}

export const serviceRefusalSize = 8;

export const serviceRefusalCodec = {
  size: 8,
  offsets: {
    service: 0,
    reason: 4,
  },
  encode: encodeServiceRefusal,
  decode: decodeServiceRefusal,
} as const;

export function encodeServiceRefusal(value: ServiceRefusal, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 8);
  view.setUint32(0, value.service, true);
  view.setUint32(4, value.reason, true);
}

export function decodeServiceRefusal(bytes: Uint8Array, offset = 0): ServiceRefusal {
  const view = viewOf(bytes, offset, 8);
  return {
    service: view.getUint32(0, true),
    reason: view.getUint32(4, true),
  };
}

/** enum service_scope */
export const serviceScope = {
  internal: 0,
  external: 1,
} as const;
export type ServiceScope = (typeof serviceScope)[keyof typeof serviceScope];

/** struct snat_address */
export interface SnatAddress {
  /** 16 bytes. */
  readonly address: Uint8Array;
}

export const snatAddressSize = 16;

export const snatAddressCodec = {
  size: 16,
  offsets: {
    address: 0,
  },
  encode: encodeSnatAddress,
  decode: decodeSnatAddress,
} as const;

export function encodeSnatAddress(value: SnatAddress, into: Uint8Array, offset = 0): void {
  checkRoom(into, offset, 16);
  checkLength('snat_address.address', value.address.length, 16);
  into.set(value.address, offset);
}

export function decodeSnatAddress(bytes: Uint8Array, offset = 0): SnatAddress {
  return {
    address: bytesAt(bytes, offset, 16),
  };
}

/** struct socket_config */
export interface SocketConfig {
  readonly nodeNetnsCookie: bigint;
  readonly abi: HeddleAbi;
  readonly localCubic: number;
  readonly nodeOnly: number;
  readonly kernel: KernelFields;
}

export const socketConfigSize = 80;

export const socketConfigCodec = {
  size: 80,
  offsets: {
    nodeNetnsCookie: 0,
    abi: 8,
    localCubic: 12,
    nodeOnly: 14,
    kernel: 16,
  },
  encode: encodeSocketConfig,
  decode: decodeSocketConfig,
} as const;

export function encodeSocketConfig(value: SocketConfig, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 80);
  view.setBigUint64(0, value.nodeNetnsCookie, true);
  view.setUint32(8, value.abi, true);
  view.setUint16(12, value.localCubic, true);
  view.setUint16(14, value.nodeOnly, true);
  encodeKernelFields(value.kernel, into, offset + 16);
}

export function decodeSocketConfig(bytes: Uint8Array, offset = 0): SocketConfig {
  const view = viewOf(bytes, offset, 80);
  return {
    nodeNetnsCookie: view.getBigUint64(0, true),
    abi: view.getUint32(8, true) as HeddleAbi,
    localCubic: view.getUint16(12, true),
    nodeOnly: view.getUint16(14, true),
    kernel: decodeKernelFields(bytes, offset + 16),
  };
}

/** enum source_range */
export const sourceRange = {
  denied: 1,
  allowed: 2,
} as const;
export type SourceRange = (typeof sourceRange)[keyof typeof sourceRange];

/** struct source_range_key */
export interface SourceRangeKey {
  readonly prefixLength: number;
  /** 16 bytes. */
  readonly frontend: Uint8Array;
  /** Network byte order in the struct, host order here. */
  readonly port: number;
  readonly protocol: number;
  readonly reserved: number;
  /** 16 bytes. */
  readonly client: Uint8Array;
}

export const sourceRangeKeySize = 40;

export const sourceRangeKeyCodec = {
  size: 40,
  offsets: {
    prefixLength: 0,
    frontend: 4,
    port: 20,
    protocol: 22,
    reserved: 23,
    client: 24,
  },
  encode: encodeSourceRangeKey,
  decode: decodeSourceRangeKey,
} as const;

export function encodeSourceRangeKey(value: SourceRangeKey, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 40);
  view.setUint32(0, value.prefixLength, true);
  checkLength('source_range_key.frontend', value.frontend.length, 16);
  into.set(value.frontend, offset + 4);
  view.setUint16(20, value.port, false);
  view.setUint8(22, value.protocol);
  view.setUint8(23, value.reserved);
  checkLength('source_range_key.client', value.client.length, 16);
  into.set(value.client, offset + 24);
}

export function decodeSourceRangeKey(bytes: Uint8Array, offset = 0): SourceRangeKey {
  const view = viewOf(bytes, offset, 40);
  return {
    prefixLength: view.getUint32(0, true),
    frontend: bytesAt(bytes, offset + 4, 16),
    port: view.getUint16(20, false),
    protocol: view.getUint8(22),
    reserved: view.getUint8(23),
    client: bytesAt(bytes, offset + 24, 16),
  };
}

/** struct stale_socket */
export interface StaleSocket {
  readonly cookie: bigint;
  readonly netns: number;
  /** Network byte order in the struct, host order here. */
  readonly port: number;
  readonly protocol: number;
}

export const staleSocketSize = 16;

export const staleSocketCodec = {
  size: 16,
  offsets: {
    cookie: 0,
    netns: 8,
    port: 12,
    protocol: 14,
  },
  encode: encodeStaleSocket,
  decode: decodeStaleSocket,
} as const;

export function encodeStaleSocket(value: StaleSocket, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 16);
  view.setBigUint64(0, value.cookie, true);
  view.setUint32(8, value.netns, true);
  view.setUint16(12, value.port, false);
  view.setUint16(14, value.protocol, true);
}

export function decodeStaleSocket(bytes: Uint8Array, offset = 0): StaleSocket {
  const view = viewOf(bytes, offset, 16);
  return {
    cookie: view.getBigUint64(0, true),
    netns: view.getUint32(8, true),
    port: view.getUint16(12, false),
    protocol: view.getUint16(14, true),
  };
}

/** struct tunnel_backend_key */
export interface TunnelBackendKey {
  /** 16 bytes. */
  readonly address: Uint8Array;
  readonly service: number;
}

export const tunnelBackendKeySize = 20;

export const tunnelBackendKeyCodec = {
  size: 20,
  offsets: {
    address: 0,
    service: 16,
  },
  encode: encodeTunnelBackendKey,
  decode: decodeTunnelBackendKey,
} as const;

export function encodeTunnelBackendKey(value: TunnelBackendKey, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 20);
  checkLength('tunnel_backend_key.address', value.address.length, 16);
  into.set(value.address, offset);
  view.setUint32(16, value.service, true);
}

export function decodeTunnelBackendKey(bytes: Uint8Array, offset = 0): TunnelBackendKey {
  const view = viewOf(bytes, offset, 20);
  return {
    address: bytesAt(bytes, offset, 16),
    service: view.getUint32(16, true),
  };
}

/** struct tunnel_end */
export interface TunnelEnd {
  /** 16 bytes. */
  readonly ipv6: Uint8Array;
  /** Network byte order in the struct, host order here. */
  readonly ipv4: number;
  readonly ifindex: number;
  readonly id: number;
  readonly mtuIpv4: number;
  readonly mtuIpv6: number;
  readonly snatIpv4: number;
  readonly snatIpv6: number;
  readonly reserved: number;
}

export const tunnelEndSize = 36;

export const tunnelEndCodec = {
  size: 36,
  offsets: {
    ipv6: 0,
    ipv4: 16,
    ifindex: 20,
    id: 24,
    mtuIpv4: 28,
    mtuIpv6: 30,
    snatIpv4: 32,
    snatIpv6: 33,
    reserved: 34,
  },
  encode: encodeTunnelEnd,
  decode: decodeTunnelEnd,
} as const;

export function encodeTunnelEnd(value: TunnelEnd, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 36);
  checkLength('tunnel_end.ipv6', value.ipv6.length, 16);
  into.set(value.ipv6, offset);
  view.setUint32(16, value.ipv4, false);
  view.setUint32(20, value.ifindex, true);
  view.setUint32(24, value.id, true);
  view.setUint16(28, value.mtuIpv4, true);
  view.setUint16(30, value.mtuIpv6, true);
  view.setUint8(32, value.snatIpv4);
  view.setUint8(33, value.snatIpv6);
  view.setUint16(34, value.reserved, true);
}

export function decodeTunnelEnd(bytes: Uint8Array, offset = 0): TunnelEnd {
  const view = viewOf(bytes, offset, 36);
  return {
    ipv6: bytesAt(bytes, offset, 16),
    ipv4: view.getUint32(16, false),
    ifindex: view.getUint32(20, true),
    id: view.getUint32(24, true),
    mtuIpv4: view.getUint16(28, true),
    mtuIpv6: view.getUint16(30, true),
    snatIpv4: view.getUint8(32),
    snatIpv6: view.getUint8(33),
    reserved: view.getUint16(34, true),
  };
}

/** struct tuple */
export interface Tuple {
  /** 16 bytes. */
  readonly source: Uint8Array;
  /** 16 bytes. */
  readonly destination: Uint8Array;
  /** Network byte order in the struct, host order here. */
  readonly sourcePort: number;
  /** Network byte order in the struct, host order here. */
  readonly destinationPort: number;
  readonly protocol: number;
}

export const tupleSize = 40;

export const tupleCodec = {
  size: 40,
  offsets: {
    source: 0,
    destination: 16,
    sourcePort: 32,
    destinationPort: 34,
    protocol: 36,
  },
  encode: encodeTuple,
  decode: decodeTuple,
} as const;

export function encodeTuple(value: Tuple, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 40);
  checkLength('tuple.source', value.source.length, 16);
  into.set(value.source, offset);
  checkLength('tuple.destination', value.destination.length, 16);
  into.set(value.destination, offset + 16);
  view.setUint16(32, value.sourcePort, false);
  view.setUint16(34, value.destinationPort, false);
  view.setUint32(36, value.protocol, true);
}

export function decodeTuple(bytes: Uint8Array, offset = 0): Tuple {
  const view = viewOf(bytes, offset, 40);
  return {
    source: bytesAt(bytes, offset, 16),
    destination: bytesAt(bytes, offset + 16, 16),
    sourcePort: view.getUint16(32, false),
    destinationPort: view.getUint16(34, false),
    protocol: view.getUint32(36, true),
  };
}

/** struct udp_peer */
export interface UdpPeer {
  readonly origin: Origin;
  readonly sent: number;
  readonly reply: Reply;
}

export const udpPeerSize = 56;

export const udpPeerCodec = {
  size: 56,
  offsets: {
    origin: 0,
    sent: 48,
    reply: 52,
  },
  encode: encodeUdpPeer,
  decode: decodeUdpPeer,
} as const;

export function encodeUdpPeer(value: UdpPeer, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 56);
  encodeOrigin(value.origin, into, offset);
  view.setUint32(48, value.sent, true);
  view.setUint32(52, value.reply, true);
}

export function decodeUdpPeer(bytes: Uint8Array, offset = 0): UdpPeer {
  const view = viewOf(bytes, offset, 56);
  return {
    origin: decodeOrigin(bytes, offset),
    sent: view.getUint32(48, true),
    reply: view.getUint32(52, true) as Reply,
  };
}

/** struct udp_peers */
export interface UdpPeers {
  readonly count: number;
  readonly sent: number;
  readonly reserved: readonly number[];
  readonly peers: readonly UdpPeer[];
}

export const udpPeersSize = 912;

export const udpPeersCodec = {
  size: 912,
  offsets: {
    count: 0,
    sent: 4,
    reserved: 8,
    peers: 16,
  },
  encode: encodeUdpPeers,
  decode: decodeUdpPeers,
} as const;

export function encodeUdpPeers(value: UdpPeers, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 912);
  view.setUint32(0, value.count, true);
  view.setUint32(4, value.sent, true);
  checkLength('udp_peers.reserved', value.reserved.length, 2);
  for (let i = 0; i < 2; i++) {
    view.setUint32(8 + i * 4, value.reserved[i]!, true);
  }
  checkLength('udp_peers.peers', value.peers.length, 16);
  for (let i = 0; i < 16; i++) {
    encodeUdpPeer(value.peers[i]!, into, offset + 16 + i * 56);
  }
}

export function decodeUdpPeers(bytes: Uint8Array, offset = 0): UdpPeers {
  const view = viewOf(bytes, offset, 912);
  return {
    count: view.getUint32(0, true),
    sent: view.getUint32(4, true),
    reserved: Array.from({ length: 2 }, (_, i) => view.getUint32(8 + i * 4, true)),
    peers: Array.from({ length: 16 }, (_, i) => decodeUdpPeer(bytes, offset + 16 + i * 56)),
  };
}

/** struct xdp_device */
export interface XdpDevice {
  /** 6 bytes. */
  readonly address: Uint8Array;
  readonly reserved: number;
}

export const xdpDeviceSize = 8;

export const xdpDeviceCodec = {
  size: 8,
  offsets: {
    address: 0,
    reserved: 6,
  },
  encode: encodeXdpDevice,
  decode: decodeXdpDevice,
} as const;

export function encodeXdpDevice(value: XdpDevice, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 8);
  checkLength('xdp_device.address', value.address.length, 6);
  into.set(value.address, offset);
  view.setUint16(6, value.reserved, true);
}

export function decodeXdpDevice(bytes: Uint8Array, offset = 0): XdpDevice {
  const view = viewOf(bytes, offset, 8);
  return {
    address: bytesAt(bytes, offset, 6),
    reserved: view.getUint16(6, true),
  };
}

function viewOf(bytes: Uint8Array, offset: number, length: number): DataView {
  checkRoom(bytes, offset, length);
  return new DataView(bytes.buffer, bytes.byteOffset + offset, length);
}

function bytesAt(bytes: Uint8Array, offset: number, length: number): Uint8Array {
  checkRoom(bytes, offset, length);
  return bytes.slice(offset, offset + length);
}

function checkRoom(bytes: Uint8Array, offset: number, length: number): void {
  if (offset < 0 || offset + length > bytes.length) {
    throw new RangeError(`reach ${length} bytes at ${offset}: has ${bytes.length}`);
  }
}

function checkLength(what: string, given: number, wanted: number): void {
  if (given !== wanted) throw new RangeError(`encode ${what}: length ${given}, want ${wanted}`);
}
