import type { Timestamp } from '@bufbuild/protobuf/wkt';

/** Returns the message of a time in milliseconds since 1970, with fractions. */
export function timestampOf(milliseconds: number): Timestamp {
  const whole = Math.floor(milliseconds / 1000);
  const nanos = Math.min(999_999_999, Math.round((milliseconds - whole * 1000) * 1e6));
  return { $typeName: 'google.protobuf.Timestamp', seconds: BigInt(whole), nanos };
}

/** Returns milliseconds since 1970, with fractions. */
export function millisecondsOf({ seconds, nanos }: Timestamp): number {
  return Number(seconds) * 1000 + nanos / 1e6;
}
