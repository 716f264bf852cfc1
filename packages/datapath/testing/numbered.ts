import type { Tcp } from '@heddle/lab';

/**
 * Flags of a segment with the numbers that an end of a connection gives it, where both sides begin at 0 and send nothing
 * but SYN and FIN: the flow table accepts it as valid.
 */
export function numbered(flags: Partial<Tcp>): Partial<Tcp> {
  return { seq: flags.syn ? 0 : 1, ackSeq: flags.ack ? 1 : 0, ...flags };
}
