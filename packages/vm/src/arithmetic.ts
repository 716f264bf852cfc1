// Operations on 64-bit values in two 32-bit words, the low one first. They are functions, and not part of
// the interpreter, because they are rare or long.

/** a[at] *= (low, high), modulo 2^64. */
export function multiply(a: Int32Array, at: number, low: number, high: number): void {
  const own = a[at]!;
  const a0 = own & 0xffff;
  const a1 = own >>> 16;
  const b0 = low & 0xffff;
  const b1 = low >>> 16;
  const cross = Math.imul(a0, b1) >>> 0;
  const cross2 = Math.imul(a1, b0) >>> 0;
  const middle = ((Math.imul(a0, b0) >>> 16) + (cross & 0xffff) + (cross2 & 0xffff)) >>> 16;
  const carried = Math.imul(a1, b1) + (cross >>> 16) + (cross2 >>> 16) + middle;
  a[at + 1] = (carried | 0) + Math.imul(own, high) + Math.imul(a[at + 1]!, low);
  a[at] = Math.imul(own, low);
}

/** a[at] <<= the low six bits of count. */
export function shiftLeft(a: Int32Array, at: number, count: number): void {
  const n = count & 63;
  if (n === 0) return;
  const low = a[at]!;
  if (n < 32) {
    a[at + 1] = (a[at + 1]! << n) | (low >>> (32 - n));
    a[at] = low << n;
  } else {
    a[at + 1] = low << (n - 32);
    a[at] = 0;
  }
}

/** a[at] >>= count, filled with zeros. */
export function shiftRight(a: Int32Array, at: number, count: number): void {
  const n = count & 63;
  if (n === 0) return;
  const high = a[at + 1]!;
  if (n < 32) {
    a[at] = (a[at]! >>> n) | (high << (32 - n));
    a[at + 1] = high >>> n;
  } else {
    a[at] = high >>> (n - 32);
    a[at + 1] = 0;
  }
}

/** a[at] >>= count, filled with the sign. */
export function shiftRightSigned(a: Int32Array, at: number, count: number): void {
  const n = count & 63;
  if (n === 0) return;
  const high = a[at + 1]!;
  if (n < 32) {
    a[at] = (a[at]! >>> n) | (high << (32 - n));
    a[at + 1] = high >> n;
  } else {
    a[at] = high >> (n - 32);
    a[at + 1] = high >> 31;
  }
}

// Memory for 64-bit division: two words and one 64-bit value share it.
const words = new Int32Array(4);
const unsigned = new BigUint64Array(words.buffer);
const signed = new BigInt64Array(words.buffer);

/** Copies a[at] and (low, high) to memory where they are 64-bit values. */
function widen(a: Int32Array, at: number, low: number, high: number): void {
  words[0] = a[at]!;
  words[1] = a[at + 1]!;
  words[2] = low;
  words[3] = high;
}

function narrow(a: Int32Array, at: number): void {
  a[at] = words[0]!;
  a[at + 1] = words[1]!;
}

/** Unsigned division. The quotient of a division by zero is 0 (RFC 9669, section 4.1). */
export function divide(a: Int32Array, at: number, low: number, high: number): void {
  if ((low | high) === 0) {
    a[at] = 0;
    a[at + 1] = 0;
  } else if ((a[at + 1]! | high) === 0) {
    a[at] = (a[at]! >>> 0) / (low >>> 0);
  } else {
    widen(a, at, low, high);
    unsigned[0] = unsigned[0]! / unsigned[1]!;
    narrow(a, at);
  }
}

/** Unsigned remainder. That of a division by zero is the dividend. */
export function remainder(a: Int32Array, at: number, low: number, high: number): void {
  if ((low | high) === 0) return;
  if ((a[at + 1]! | high) === 0) {
    a[at] = (a[at]! >>> 0) % (low >>> 0);
    return;
  }
  widen(a, at, low, high);
  unsigned[0] = unsigned[0]! % unsigned[1]!;
  narrow(a, at);
}

/** Signed division, rounded towards zero. The least value divided by -1 is the least value. */
export function divideSigned(a: Int32Array, at: number, low: number, high: number): void {
  widen(a, at, low, high);
  signed[0] = (low | high) === 0 ? 0n : signed[0]! / signed[1]!;
  narrow(a, at);
}

/** Signed remainder, with the sign of the dividend. */
export function remainderSigned(a: Int32Array, at: number, low: number, high: number): void {
  if ((low | high) === 0) return;
  widen(a, at, low, high);
  signed[0] = signed[0]! % signed[1]!;
  narrow(a, at);
}

/** The 32-bit forms of these four. */
export function divide32(a: number, b: number): number {
  return b === 0 ? 0 : (a >>> 0) / (b >>> 0);
}

export function remainder32(a: number, b: number): number {
  return b === 0 ? a : (a >>> 0) % (b >>> 0);
}

export function divideSigned32(a: number, b: number): number {
  return b === 0 ? 0 : a / b;
}

export function remainderSigned32(a: number, b: number): number {
  return b === 0 ? a : a % b;
}

export function swap16(value: number): number {
  return ((value & 0xff) << 8) | ((value >>> 8) & 0xff);
}

export function swap32(value: number): number {
  return (swap16(value) << 16) | swap16(value >>> 16);
}

/** Returns true if (a, ah) < (b, bh), unsigned. */
export function isBelow(a: number, ah: number, b: number, bh: number): boolean {
  return ah === bh ? a >>> 0 < b >>> 0 : ah >>> 0 < bh >>> 0;
}

/** Returns true if (a, ah) < (b, bh), signed. */
export function isLess(a: number, ah: number, b: number, bh: number): boolean {
  return ah === bh ? a >>> 0 < b >>> 0 : ah < bh;
}

const FETCH = 1;
const EXCHANGE = 0xe1;
const COMPARE_EXCHANGE = 0xf1;

/** Returns the new word of an atomic operation without carry: or, and, xor. */
function bitwise(kind: number, old: number, value: number): number {
  switch (kind & 0xf0) {
    case 0x40:
      return old | value;
    case 0x50:
      return old & value;
    default:
      return old ^ value;
  }
}

/** An atomic operation (RFC 9669, section 5.3) on 4 bytes. `from` is the index of the source register. */
export function atomic32(
  view: DataView,
  at: number,
  kind: number,
  registers: Int32Array,
  from: number,
): void {
  const old = view.getInt32(at, true);
  const value = registers[from]!;
  if (kind === COMPARE_EXCHANGE) {
    if (registers[0] === old) view.setInt32(at, value, true);
    registers[0] = old;
    registers[1] = 0;
    return;
  }
  const isAdd = (kind & 0xf0) === 0;
  const result = kind === EXCHANGE ? value : isAdd ? old + value : bitwise(kind, old, value);
  view.setInt32(at, result, true);
  if (kind & FETCH) {
    registers[from] = old;
    registers[from + 1] = 0;
  }
}

/** An atomic operation on 8 bytes. */
export function atomic64(
  view: DataView,
  at: number,
  kind: number,
  registers: Int32Array,
  from: number,
): void {
  const old = view.getInt32(at, true);
  const oldHigh = view.getInt32(at + 4, true);
  let low = registers[from]!;
  let high = registers[from + 1]!;
  if (kind === COMPARE_EXCHANGE) {
    if (registers[0] === old && registers[1] === oldHigh) {
      view.setInt32(at, low, true);
      view.setInt32(at + 4, high, true);
    }
    registers[0] = old;
    registers[1] = oldHigh;
    return;
  }
  if ((kind & 0xf0) === 0) {
    const sum = (old + low) | 0;
    high = oldHigh + high + (sum >>> 0 < old >>> 0 ? 1 : 0);
    low = sum;
  } else if (kind !== EXCHANGE) {
    low = bitwise(kind, old, low);
    high = bitwise(kind, oldHigh, high);
  }
  view.setInt32(at, low, true);
  view.setInt32(at + 4, high, true);
  if (kind & FETCH) {
    registers[from] = old;
    registers[from + 1] = oldHigh;
  }
}
