/**
 * Encodes and decodes values of one type as they lie in memory. `generateBindings` writes a codec for each struct; those of
 * plain integers are below.
 */
export interface Codec<Value> {
  /** Bytes. */
  readonly size: number;
  /** Writes `size` bytes. Throws RangeError when `into` is too short. */
  encode(value: Value, into: Uint8Array, offset?: number): void;
  /** Throws RangeError when `bytes` is too short. */
  decode(bytes: Uint8Array, offset?: number): Value;
}

type IntegerType = 'Uint8' | 'Uint16' | 'Uint32' | 'Int32';

function integer(type: IntegerType, size: number): Codec<number> {
  return {
    size,
    encode: (value, into, offset = 0) => view(into)[`set${type}`](offset, value, true),
    decode: (bytes, offset = 0) => view(bytes)[`get${type}`](offset, true),
  };
}

const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Integers in the byte order of the machine, which is little-endian. */
export const u8 = integer('Uint8', 1);
export const u16 = integer('Uint16', 2);
export const u32 = integer('Uint32', 4);
export const s32 = integer('Int32', 4);
export const u64: Codec<bigint> = {
  size: 8,
  encode: (value, into, offset = 0) => view(into).setBigUint64(offset, value, true),
  decode: (bytes, offset = 0) => view(bytes).getBigUint64(offset, true),
};

/** Values of a per-CPU map: an array with the value of each of `cpus` CPUs (`bpf.possibleCpus`). */
export function perCpu<Value>(codec: Codec<Value>, cpus: number): Codec<readonly Value[]> {
  const stride = Math.ceil(codec.size / 8) * 8;
  const size = stride * cpus;
  return {
    size,
    encode(values, into, offset = 0) {
      if (values.length !== cpus) {
        throw new RangeError(`encode values of ${cpus} CPUs: ${values.length} given`);
      }
      into.fill(0, offset, offset + size);
      values.forEach((value, cpu) => {
        codec.encode(value, into, offset + cpu * stride);
      });
    },
    decode: (bytes, offset = 0) =>
      Array.from({ length: cpus }, (_, cpu) => codec.decode(bytes, offset + cpu * stride)),
  };
}
