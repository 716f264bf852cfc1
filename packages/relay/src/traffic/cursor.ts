/** Wire types of protobuf. */
export const wireType = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

/** Reads protobuf's wire format from a part of a buffer. All methods throw RangeError where the part ends too early. */
export class Cursor {
  readonly buffer: Buffer;
  at: number;
  end: number;

  constructor(buffer: Buffer, at = 0, end = buffer.length) {
    this.buffer = buffer;
    this.at = at;
    this.end = end;
  }

  /** Reads an unsigned number; digits beyond 2^53 are lost. */
  varint(): number {
    const { buffer } = this;
    let [value, factor] = [0, 1];
    for (let count = 0; count < 10; count++) {
      if (this.at >= this.end) throw truncated();
      const byte = buffer[this.at++]!;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      factor *= 128;
    }
    throw new RangeError('read protobuf: a number has more than ten bytes');
  }

  /** Reads the length of a field and returns the end of it, which is within this part. */
  endOfBytes(): number {
    const length = this.varint();
    const end = this.at + length;
    if (end > this.end) throw truncated();
    return end;
  }

  /** Skips a field. */
  skip(type: number): void {
    switch (type) {
      case wireType.varint:
        this.varint();
        return;
      case wireType.fixed64:
        this.at += 8;
        break;
      case wireType.bytes:
        this.at = this.endOfBytes();
        return;
      case wireType.fixed32:
        this.at += 4;
        break;
      default:
        throw new RangeError(`read protobuf: the wire type ${type} is not supported`);
    }
    if (this.at > this.end) throw truncated();
  }
}

function truncated(): RangeError {
  return new RangeError('read protobuf: the message is truncated');
}
