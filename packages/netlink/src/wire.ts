import { decodeCString, encodeCString } from '@heddle/sys';
import { MalformedMessage } from './errors.ts';

// The format of netlink messages (linux/netlink.h): a 16-byte header, a header of the protocol
// family, then attributes {length u16, type u16, payload}, all aligned to 4 bytes. Numbers are in
// host byte order unless a comment names another; x86-64 and arm64 are little-endian.

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
/** In a listing: the table has changed meanwhile. */
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
/** In an acknowledgement: it does not contain the request's payload. */
export const NLM_F_CAPPED = 0x100;
/** In an acknowledgement: attributes follow. */
export const NLM_F_ACK_TLVS = 0x200;

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;

const headerSize = 16;
const attributeHeaderSize = 4;
const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;
const largestPayload = 0xffff - attributeHeaderSize;

/** One message. `body` is a view of the bytes after the 16-byte header. */
export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly port: number;
  readonly body: Uint8Array;
}

function align(length: number): number {
  return (length + 3) & ~3;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Splits one datagram into its messages. Throws MalformedMessage. */
export function readMessages(bytes: Uint8Array): Message[] {
  const view = viewOf(bytes);
  const messages: Message[] = [];
  for (let at = 0; at < bytes.length; ) {
    const left = bytes.length - at;
    if (left < headerSize) {
      throw new MalformedMessage(`read netlink message: ${left} bytes where a header needs 16`);
    }
    const length = view.getUint32(at, true);
    if (length < headerSize || length > left) {
      throw new MalformedMessage(`read netlink message: length ${length} of ${left} bytes`);
    }
    messages.push({
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
      port: view.getUint32(at + 12, true),
      body: bytes.subarray(at + headerSize, at + length),
    });
    at += align(length);
  }
  return messages;
}

/**
 * Yields the attributes in `bytes`, in their order; `type` is without its flag bits. Throws
 * MalformedMessage.
 */
export function* eachAttribute(
  bytes: Uint8Array,
): Generator<{ readonly type: number; readonly payload: Uint8Array }> {
  const view = viewOf(bytes);
  for (let at = 0; at < bytes.length; ) {
    const left = bytes.length - at;
    if (left < attributeHeaderSize) {
      throw new MalformedMessage(`read netlink attribute: ${left} bytes where a header needs 4`);
    }
    const length = view.getUint16(at, true);
    const type = view.getUint16(at + 2, true) & NLA_TYPE_MASK;
    if (length < attributeHeaderSize || length > left) {
      throw new MalformedMessage(
        `read netlink attribute ${type}: length ${length} of ${left} bytes`,
      );
    }
    yield { type, payload: bytes.subarray(at + attributeHeaderSize, at + length) };
    at += align(length);
  }
}

/**
 * The attributes of a message or of a nested attribute by type, which is without its flag bits.
 * When a type occurs twice, the last one counts, as in the kernel's nla_parse(). Each getter
 * returns undefined for an absent attribute and throws MalformedMessage for one that is too short.
 */
export class Attributes {
  readonly #byType: ReadonlyMap<number, Uint8Array>;

  private constructor(byType: ReadonlyMap<number, Uint8Array>) {
    this.#byType = byType;
  }

  /** Throws MalformedMessage. */
  static read(bytes: Uint8Array): Attributes {
    const byType = new Map<number, Uint8Array>();
    for (const { type, payload } of eachAttribute(bytes)) byType.set(type, payload);
    return new Attributes(byType);
  }

  /** Returns the types that are present, in the order of their first occurrence. */
  types(): number[] {
    return [...this.#byType.keys()];
  }

  bytes(type: number): Uint8Array | undefined {
    return this.#byType.get(type);
  }

  u8(type: number): number | undefined {
    return this.#number(type, 1)?.getUint8(0);
  }

  u16(type: number): number | undefined {
    return this.#number(type, 2)?.getUint16(0, true);
  }

  u32(type: number): number | undefined {
    return this.#number(type, 4)?.getUint32(0, true);
  }

  s32(type: number): number | undefined {
    return this.#number(type, 4)?.getInt32(0, true);
  }

  text(type: number): string | undefined {
    const bytes = this.#byType.get(type);
    return bytes && decodeCString(bytes);
  }

  nested(type: number): Attributes | undefined {
    const bytes = this.#byType.get(type);
    return bytes && Attributes.read(bytes);
  }

  #number(type: number, size: number): DataView | undefined {
    const bytes = this.#byType.get(type);
    if (!bytes) return undefined;
    if (bytes.length < size) {
      throw new MalformedMessage(
        `read netlink attribute ${type}: ${bytes.length} bytes where ${size} are needed`,
      );
    }
    return viewOf(bytes);
  }
}

/** Builds one message. Methods can be chained; `finish` returns the bytes to send. */
export class MessageWriter {
  readonly #flags: number;
  readonly #type: number;
  #bytes = new Uint8Array(256);
  #length = headerSize;

  /** `flags` are added to NLM_F_REQUEST. */
  constructor(type: number, flags = 0) {
    this.#type = type;
    this.#flags = flags;
  }

  /** Appends the header of the protocol family, e.g. a struct ifinfomsg. */
  header(bytes: Uint8Array): this {
    const at = this.#reserve(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  /** Appends an attribute. Throws RangeError above 65,531 bytes, the limit of the length field. */
  bytes(type: number, payload: Uint8Array): this {
    if (payload.length > largestPayload) {
      throw new RangeError(
        `write netlink attribute ${type}: ${payload.length} bytes exceed ${largestPayload}`,
      );
    }
    const at = this.#reserve(attributeHeaderSize + payload.length);
    const view = viewOf(this.#bytes);
    view.setUint16(at, attributeHeaderSize + payload.length, true);
    view.setUint16(at + 2, type, true);
    this.#bytes.set(payload, at + attributeHeaderSize);
    return this;
  }

  u8(type: number, value: number): this {
    return this.bytes(type, Uint8Array.of(value));
  }

  u16(type: number, value: number): this {
    const payload = new Uint8Array(2);
    viewOf(payload).setUint16(0, value, true);
    return this.bytes(type, payload);
  }

  u32(type: number, value: number): this {
    const payload = new Uint8Array(4);
    viewOf(payload).setUint32(0, value, true);
    return this.bytes(type, payload);
  }

  /** Appends a text with a closing NUL, as the kernel's NLA_STRING attributes have it. */
  text(type: number, value: string): this {
    return this.bytes(type, encodeCString(value));
  }

  /** Appends an attribute whose payload is what `fill` appends to this writer. */
  nested(type: number, fill: (writer: this) => void): this {
    const at = this.#reserve(attributeHeaderSize);
    fill(this);
    const length = this.#length - at;
    if (length > 0xffff) {
      throw new RangeError(`write netlink attribute ${type}: ${length} bytes exceed 65535`);
    }
    const view = viewOf(this.#bytes);
    view.setUint16(at, length, true);
    view.setUint16(at + 2, type | NLA_F_NESTED, true);
    return this;
  }

  /** Appends what `fill` appends, and writes its length into the first two bytes (struct rtnexthop). */
  sized(fill: () => void): this {
    const at = this.#length;
    fill();
    viewOf(this.#bytes).setUint16(at, this.#length - at, true);
    return this;
  }

  /** Returns the message's bytes, with `flags` added to those of the constructor. */
  finish(sequence: number, flags = 0): Uint8Array {
    const bytes = this.#bytes.slice(0, this.#length);
    const view = viewOf(bytes);
    view.setUint32(0, bytes.length, true);
    view.setUint16(4, this.#type, true);
    view.setUint16(6, NLM_F_REQUEST | this.#flags | flags, true);
    view.setUint32(8, sequence, true);
    return bytes;
  }

  /** Appends `size` zero bytes and their padding, and returns where they start. */
  #reserve(size: number): number {
    const at = this.#length;
    this.#length = at + align(size);
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    return at;
  }
}
