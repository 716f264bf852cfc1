import { fromBinary } from '@bufbuild/protobuf';
import { Layer7Schema } from '@heddle/hubble/messages';
import { Cursor, wireType } from './cursor.ts';

/** The numbers of the fields that are read (packages/hubble/proto/flow/flow.proto). */
const field = {
  ...{ time: 1, verdict: 2, ip: 5, l4: 6, source: 8, destination: 9, sourceNames: 13 },
  ...{
    destinationNames: 14,
    l7: 15,
    eventType: 19,
    sourceService: 20,
    destinationService: 21,
    direction: 22,
  },
  ...{ dropReason: 25, isReply: 26, uuid: 34, traceReason: 36 },
  ...{ egressAllowed: 21_001, ingressAllowed: 21_002, egressDenied: 21_004, ingressDenied: 21_005 },
  heddle: 400_000_000,
} as const;

/** The fields of a flow as they are read. */
export interface FlowValues {
  time: number;
  verdict: number;
  dropReason: number;
  direction: number;
  traceReason: number;
  eventType: number;
  isReply: boolean;
  protocol: number;
  sourcePort: number;
  destinationPort: number;
  flags: number;
  bytes: number;
  packets: number;
  uuid: string;
  sourceAddress: string;
  destinationAddress: string;
  /** The bytes of both ends and of their names, one character each. */
  source: string;
  destination: string;
  sourceNames: string;
  destinationNames: string;
  sourceService: string;
  destinationService: string;
  decisions: string;
  policies: string;
  dns: string | undefined;
  http: { path: string; method: string; code: number } | undefined;
}

/** Returns the values of a flow without fields. */
export function noValues(): FlowValues {
  return {
    ...{ time: Number.NaN, verdict: 0, dropReason: 0, direction: 0, traceReason: 0, eventType: 0 },
    ...{
      isReply: false,
      protocol: 0,
      sourcePort: 0,
      destinationPort: 0,
      flags: 0,
      bytes: 0,
      packets: 0,
      uuid: '',
    },
    ...{ sourceAddress: '', destinationAddress: '', source: '', destination: '' },
    ...{ sourceNames: '', destinationNames: '', sourceService: '', destinationService: '' },
    ...{ decisions: '', policies: '', dns: undefined, http: undefined },
  };
}

/** Reads the fields of a message flow.Flow. Throws RangeError where the bytes are truncated. */
export function readFields(cursor: Cursor, values: FlowValues): void {
  const { buffer } = cursor;
  while (cursor.at < cursor.end) {
    const tag = cursor.varint();
    const number = Math.floor(tag / 8);
    const type = tag % 8;
    if (type === wireType.varint) {
      readNumber(number, cursor.varint(), values);
      continue;
    }
    if (type !== wireType.bytes) {
      cursor.skip(type);
      continue;
    }
    const end = cursor.endOfBytes();
    const start = cursor.at;
    cursor.at = end;
    switch (number) {
      case field.time:
        values.time = timeOf(new Cursor(buffer, start, end));
        break;
      case field.uuid:
        values.uuid = buffer.toString('latin1', start, Math.min(end, start + 36));
        break;
      case field.ip:
        readAddresses(new Cursor(buffer, start, end), values);
        break;
      case field.l4:
        readLayer4(new Cursor(buffer, start, end), values);
        break;
      case field.source:
        values.source = buffer.toString('latin1', start, end);
        break;
      case field.destination:
        values.destination = buffer.toString('latin1', start, end);
        break;
      case field.sourceNames:
        values.sourceNames += framed(0, buffer, start, end);
        break;
      case field.destinationNames:
        values.destinationNames += framed(0, buffer, start, end);
        break;
      case field.sourceService:
        values.sourceService = buffer.toString('latin1', start, end);
        break;
      case field.destinationService:
        values.destinationService = buffer.toString('latin1', start, end);
        break;
      case field.isReply:
        values.isReply = firstNumber(new Cursor(buffer, start, end)) !== 0;
        break;
      case field.eventType:
        values.eventType = firstNumber(new Cursor(buffer, start, end));
        break;
      case field.l7:
        readLayer7(buffer.subarray(start, end), values);
        break;
      case field.heddle:
        readDetail(new Cursor(buffer, start, end), values);
        break;
      case field.egressAllowed:
      case field.ingressAllowed:
      case field.egressDenied:
      case field.ingressDenied:
        values.policies += framed(number - field.egressAllowed, buffer, start, end);
        break;
    }
  }
}

function readNumber(number: number, value: number, values: FlowValues): void {
  switch (number) {
    case field.verdict:
      values.verdict = value;
      break;
    case field.dropReason:
      values.dropReason = value;
      break;
    case field.direction:
      values.direction = value;
      break;
    case field.traceReason:
      values.traceReason = value;
      break;
  }
}

/** Returns milliseconds since 1970 of a google.protobuf.Timestamp. */
function timeOf(cursor: Cursor): number {
  let [seconds, nanos] = [0, 0];
  while (cursor.at < cursor.end) {
    const tag = cursor.varint();
    if (tag === 8) seconds = cursor.varint();
    else if (tag === 16) nanos = cursor.varint();
    else cursor.skip(tag & 7);
  }
  return seconds * 1000 + nanos / 1e6;
}

/** Returns the value of the first field of a wrapper, or 0. */
function firstNumber(cursor: Cursor): number {
  let value = 0;
  while (cursor.at < cursor.end) {
    const tag = cursor.varint();
    if (tag === 8) value = cursor.varint();
    else cursor.skip(tag & 7);
  }
  return value;
}

function readAddresses(cursor: Cursor, values: FlowValues): void {
  while (cursor.at < cursor.end) {
    const tag = cursor.varint();
    if (tag === 10) values.sourceAddress = latin1(cursor);
    else if (tag === 18) values.destinationAddress = latin1(cursor);
    else cursor.skip(tag & 7);
  }
}

/** The numbers of IP protocols by the fields of flow.Layer4. */
const protocols: Readonly<Record<number, number>> = {
  1: 6,
  2: 17,
  3: 1,
  4: 58,
  5: 132,
  6: 112,
  7: 2,
};

function readLayer4(cursor: Cursor, values: FlowValues): void {
  while (cursor.at < cursor.end) {
    const tag = cursor.varint();
    const protocol = protocols[tag >>> 3];
    if (protocol === undefined || (tag & 7) !== wireType.bytes) {
      cursor.skip(tag & 7);
      continue;
    }
    const end = cursor.endOfBytes();
    values.protocol = protocol;
    [values.sourcePort, values.destinationPort, values.flags] = [0, 0, 0];
    const hasPorts = protocol === 6 || protocol === 17 || protocol === 132;
    if (hasPorts) readPorts(new Cursor(cursor.buffer, cursor.at, end), values);
    cursor.at = end;
  }
}

function readPorts(cursor: Cursor, values: FlowValues): void {
  while (cursor.at < cursor.end) {
    const tag = cursor.varint();
    if (tag === 8) values.sourcePort = cursor.varint();
    else if (tag === 16) values.destinationPort = cursor.varint();
    else if (tag === 26) {
      const end = cursor.endOfBytes();
      if (values.protocol === 6) values.flags = flagsOf(new Cursor(cursor.buffer, cursor.at, end));
      cursor.at = end;
    } else cursor.skip(tag & 7);
  }
}

/** Returns the bits of flow.TCPFlags, whose fields 1 to 9 are FIN, SYN, RST, PSH, ACK, URG, ECE, CWR and NS. */
function flagsOf(cursor: Cursor): number {
  let bits = 0;
  while (cursor.at < cursor.end) {
    const tag = cursor.varint();
    if ((tag & 7) !== wireType.varint) {
      cursor.skip(tag & 7);
      continue;
    }
    const isSet = cursor.varint() !== 0;
    const number = tag >>> 3;
    if (number > 9) continue;
    bits = isSet ? bits | (1 << (number - 1)) : bits & ~(1 << (number - 1));
  }
  return bits;
}

function readDetail(cursor: Cursor, values: FlowValues): void {
  while (cursor.at < cursor.end) {
    const tag = cursor.varint();
    if (tag === 8) values.bytes = cursor.varint();
    else if (tag === 16) values.packets = cursor.varint();
    else if (tag === 50) {
      const end = cursor.endOfBytes();
      values.decisions += framed(0, cursor.buffer, cursor.at, end);
      cursor.at = end;
    } else cursor.skip(tag & 7);
  }
}

/** HTTP and DNS are of few flows, so the library reads them. */
function readLayer7(bytes: Uint8Array, values: FlowValues): void {
  const { record } = fromBinary(Layer7Schema, bytes);
  if (record.case === 'dns') values.dns = record.value.query.slice(0, 253);
  if (record.case !== 'http') return;
  const { url, method, code } = record.value;
  const path = url.replace(/^[a-z][-+.a-z0-9]*:\/\/[^/]*/i, '').replace(/\?.*$/s, '');
  values.http = { path: path.slice(0, 1000), method: method.slice(0, 32), code };
}

/** Returns bytes with a number and their length before them, one character each, so that several can be joined. */
function framed(number: number, buffer: Buffer, start: number, end: number): string {
  return `${number}:${end - start}:${buffer.toString('latin1', start, end)}`;
}

/** Splits what `framed` has joined. */
export function* frames(text: string): Generator<readonly [number, Buffer]> {
  for (let at = 0; at < text.length; ) {
    const [first, second] = [text.indexOf(':', at), text.indexOf(':', text.indexOf(':', at) + 1)];
    const length = Number(text.slice(first + 1, second));
    const bytes = Buffer.from(text.slice(second + 1, second + 1 + length), 'latin1');
    yield [Number(text.slice(at, first)), bytes];
    at = second + 1 + length;
  }
}

function latin1(cursor: Cursor): string {
  const end = cursor.endOfBytes();
  const text = cursor.buffer.toString('latin1', cursor.at, end);
  cursor.at = end;
  return text;
}

/** Reads a text. */
export function utf8(cursor: Cursor): string {
  const end = cursor.endOfBytes();
  const text = cursor.buffer.toString('utf8', cursor.at, end);
  cursor.at = end;
  return text;
}
