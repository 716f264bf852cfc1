// The part of Protocol Buffers (proto3) that the container runtime's API needs: varints, and fields with a length.

/** The value of a field: a number, a text, a message, or several of them. */
export type FieldValue = number | string | Message | readonly FieldValue[];

/** The fields of a message by their numbers. */
export interface Message {
  readonly [number: number]: FieldValue;
}

/** Returns the bytes of a message. */
export function encodeMessage(message: Message): Buffer {
  const parts: Buffer[] = [];
  for (const [number, value] of Object.entries(message) as [string, FieldValue][]) {
    const values = Array.isArray(value) ? value : [value];
    for (const each of values as Exclude<FieldValue, readonly FieldValue[]>[]) {
      const tag = Number(number) << 3;
      if (typeof each === 'number') {
        parts.push(varint(tag), varint(each));
      } else {
        const bytes = typeof each === 'string' ? Buffer.from(each) : encodeMessage(each);
        parts.push(varint(tag | 2), varint(bytes.length), bytes);
      }
    }
  }
  return Buffer.concat(parts);
}

/** Returns the entries of a map of texts, as the repeated messages that they are. */
export function encodeMap(entries: Readonly<Record<string, string>>): Message[] {
  return Object.entries(entries).map(([key, value]) => ({ 1: key, 2: value }));
}

/** The fields of a decoded message: numbers, or bytes for texts and messages. */
export class Fields {
  readonly #fields: readonly (readonly [number, bigint | Buffer])[];

  constructor(bytes: Buffer) {
    this.#fields = [...decodeFields(bytes)];
  }

  #all(number: number): (bigint | Buffer)[] {
    return this.#fields.filter(([own]) => own === number).map(([, value]) => value);
  }

  number(number: number): number {
    return Number(this.#all(number).at(-1) ?? 0n);
  }

  text(number: number): string {
    return this.texts(number).at(-1) ?? '';
  }

  texts(number: number): string[] {
    return this.#all(number).map((value) => (value as Buffer).toString());
  }

  message(number: number): Fields {
    return this.messages(number).at(-1) ?? new Fields(Buffer.alloc(0));
  }

  messages(number: number): Fields[] {
    return this.#all(number).map((value) => new Fields(value as Buffer));
  }
}

function* decodeFields(bytes: Buffer): Iterable<readonly [number, bigint | Buffer]> {
  let at = 0;
  const next = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error('decode message: it ends within a number');
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = Number(next());
    const type = tag & 7;
    if (type !== 0 && type !== 2) throw new Error(`decode message: wire type ${type} is not known`);
    if (type === 0) {
      yield [tag >> 3, next()];
    } else {
      const length = Number(next());
      at += length;
      if (at > bytes.length) throw new Error('decode message: it ends within a field');
      yield [tag >> 3, bytes.subarray(at - length, at)];
    }
  }
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let left = value; ; left = Math.floor(left / 128)) {
    if (left < 128) return Buffer.from([...bytes, left]);
    bytes.push((left % 128) | 128);
  }
}
