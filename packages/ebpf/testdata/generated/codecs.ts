// Written by testing/write-codecs.ts from testdata/codecs.o; not edited by hand.

/** enum backend_state */
export const backendState = {
  gone: 0,
  active: 1,
  drainingSlowly: 200,
} as const;
export type BackendState = (typeof backendState)[keyof typeof backendState];

/** struct endpoint */
export interface Endpoint {
  /** 16 bytes. */
  readonly address: Uint8Array;
  /** Network byte order in the struct, host order here. */
  readonly port: number;
  readonly protocol: number;
  readonly zone: number;
}

export const endpointSize = 24;

export const endpointCodec = {
  size: 24,
  offsets: {
    address: 0,
    port: 16,
    protocol: 18,
    zone: 20,
  },
  encode: encodeEndpoint,
  decode: decodeEndpoint,
} as const;

export function encodeEndpoint(value: Endpoint, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 24);
  checkLength('endpoint.address', value.address.length, 16);
  into.set(value.address, offset);
  view.setUint16(16, value.port, false);
  view.setUint8(18, value.protocol);
  view.setUint32(20, value.zone, true);
  into.fill(0, offset + 19, offset + 20);
}

export function decodeEndpoint(bytes: Uint8Array, offset = 0): Endpoint {
  const view = viewOf(bytes, offset, 24);
  return {
    address: bytesAt(bytes, offset, 16),
    port: view.getUint16(16, false),
    protocol: view.getUint8(18),
    zone: view.getUint32(20, true),
  };
}

/** struct everything */
export interface Everything {
  readonly tiny: number;
  readonly wideSigned: bigint;
  /** Network byte order in the struct, host order here. */
  readonly networkWord: number;
  /** Network byte order in the struct, host order here. */
  readonly networkLong: bigint;
  readonly flag: boolean;
  readonly smallSigned: number;
  readonly halfSigned: number;
  readonly state: BackendState;
  readonly fullState: BackendState;
  readonly number: SignedNumber;
  readonly large: LargeFlag;
  readonly nested: Endpoint;
  readonly list: readonly Endpoint[];
  readonly words: readonly number[];
  readonly longs: readonly bigint[];
  /** Network byte order in the struct, host order here. */
  readonly ports: readonly number[];
  readonly grid: readonly (readonly number[])[];
  /** 5 bytes. */
  readonly text: Uint8Array;
  /** 8 bytes. */
  readonly either: Uint8Array;
  readonly pointer: bigint;
  readonly pair: EverythingPair;
  readonly inlined: number;
  readonly last: number;
}

export const everythingSize = 216;

export const everythingCodec = {
  size: 216,
  offsets: {
    tiny: 0,
    wideSigned: 8,
    networkWord: 16,
    networkLong: 24,
    flag: 32,
    smallSigned: 33,
    halfSigned: 34,
    state: 36,
    fullState: 40,
    number: 44,
    large: 48,
    nested: 56,
    list: 80,
    words: 128,
    longs: 144,
    ports: 160,
    grid: 164,
    text: 176,
    either: 184,
    pointer: 192,
    pair: 200,
    inlined: 204,
    last: 208,
  },
  encode: encodeEverything,
  decode: decodeEverything,
} as const;

export function encodeEverything(value: Everything, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 216);
  view.setUint8(0, value.tiny);
  view.setBigInt64(8, value.wideSigned, true);
  view.setUint32(16, value.networkWord, false);
  view.setBigUint64(24, value.networkLong, false);
  view.setUint8(32, value.flag ? 1 : 0);
  view.setInt8(33, value.smallSigned);
  view.setInt16(34, value.halfSigned, true);
  view.setUint8(36, value.state);
  view.setUint32(40, value.fullState, true);
  view.setInt32(44, value.number, true);
  view.setBigUint64(48, value.large, true);
  encodeEndpoint(value.nested, into, offset + 56);
  checkLength('everything.list', value.list.length, 2);
  for (let i = 0; i < 2; i++) {
    encodeEndpoint(value.list[i]!, into, offset + 80 + i * 24);
  }
  checkLength('everything.words', value.words.length, 3);
  for (let i = 0; i < 3; i++) {
    view.setUint32(128 + i * 4, value.words[i]!, true);
  }
  checkLength('everything.longs', value.longs.length, 2);
  for (let i = 0; i < 2; i++) {
    view.setBigUint64(144 + i * 8, value.longs[i]!, true);
  }
  checkLength('everything.ports', value.ports.length, 2);
  for (let i = 0; i < 2; i++) {
    view.setUint16(160 + i * 2, value.ports[i]!, false);
  }
  checkLength('everything.grid', value.grid.length, 2);
  for (let i = 0; i < 2; i++) {
    checkLength('everything.grid', value.grid[i]!.length, 3);
    for (let i1 = 0; i1 < 3; i1++) {
      view.setUint16(164 + i * 6 + i1 * 2, value.grid[i]![i1]!, true);
    }
  }
  checkLength('everything.text', value.text.length, 5);
  into.set(value.text, offset + 176);
  checkLength('everything.either', value.either.length, 8);
  into.set(value.either, offset + 184);
  view.setBigUint64(192, value.pointer, true);
  encodeEverythingPair(value.pair, into, offset + 200);
  view.setUint32(204, value.inlined, true);
  view.setUint8(208, value.last);
  into.fill(0, offset + 1, offset + 8);
  into.fill(0, offset + 20, offset + 24);
  into.fill(0, offset + 37, offset + 40);
  into.fill(0, offset + 140, offset + 144);
  into.fill(0, offset + 181, offset + 184);
  into.fill(0, offset + 209, offset + 216);
}

export function decodeEverything(bytes: Uint8Array, offset = 0): Everything {
  const view = viewOf(bytes, offset, 216);
  return {
    tiny: view.getUint8(0),
    wideSigned: view.getBigInt64(8, true),
    networkWord: view.getUint32(16, false),
    networkLong: view.getBigUint64(24, false),
    flag: view.getUint8(32) !== 0,
    smallSigned: view.getInt8(33),
    halfSigned: view.getInt16(34, true),
    state: view.getUint8(36) as BackendState,
    fullState: view.getUint32(40, true) as BackendState,
    number: view.getInt32(44, true) as SignedNumber,
    large: view.getBigUint64(48, true) as LargeFlag,
    nested: decodeEndpoint(bytes, offset + 56),
    list: Array.from({ length: 2 }, (_, i) => decodeEndpoint(bytes, offset + 80 + i * 24)),
    words: Array.from({ length: 3 }, (_, i) => view.getUint32(128 + i * 4, true)),
    longs: Array.from({ length: 2 }, (_, i) => view.getBigUint64(144 + i * 8, true)),
    ports: Array.from({ length: 2 }, (_, i) => view.getUint16(160 + i * 2, false)),
    grid: Array.from({ length: 2 }, (_, i) => Array.from({ length: 3 }, (_, i1) => view.getUint16(164 + i * 6 + i1 * 2, true))),
    text: bytesAt(bytes, offset + 176, 5),
    either: bytesAt(bytes, offset + 184, 8),
    pointer: view.getBigUint64(192, true),
    pair: decodeEverythingPair(bytes, offset + 200),
    inlined: view.getUint32(204, true),
    last: view.getUint8(208),
  };
}

/** struct everything_pair */
export interface EverythingPair {
  readonly first: number;
  readonly second: number;
}

export const everythingPairSize = 4;

export const everythingPairCodec = {
  size: 4,
  offsets: {
    first: 0,
    second: 2,
  },
  encode: encodeEverythingPair,
  decode: decodeEverythingPair,
} as const;

export function encodeEverythingPair(value: EverythingPair, into: Uint8Array, offset = 0): void {
  const view = viewOf(into, offset, 4);
  view.setUint16(0, value.first, true);
  view.setUint16(2, value.second, true);
}

export function decodeEverythingPair(bytes: Uint8Array, offset = 0): EverythingPair {
  const view = viewOf(bytes, offset, 4);
  return {
    first: view.getUint16(0, true),
    second: view.getUint16(2, true),
  };
}

/** enum large_flag */
export const largeFlag = {
  small: 1n,
  large: 4294967296n,
} as const;
export type LargeFlag = (typeof largeFlag)[keyof typeof largeFlag];

/** enum signed_number */
export const signedNumber = {
  minusOne: -1,
  one: 1,
} as const;
export type SignedNumber = (typeof signedNumber)[keyof typeof signedNumber];

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
