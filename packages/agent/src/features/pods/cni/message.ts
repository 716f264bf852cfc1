import { decodeUtf8 } from '@heddle/sys';
import { CniError } from './errors.ts';

/** The longest message, in bytes. */
export const longestMessage = 1024 * 1024;

/** A call of the plug-in: what a client of the CNI socket sends. */
export interface CniMessage {
  /** The environment variables whose names start with `CNI_`. */
  readonly environment: ReadonlyMap<string, string>;
  /** The bytes of the plug-in's standard input. */
  readonly input: Uint8Array;
}

/**
 * Reads `NAME=VALUE` entries that a NUL ends each, an empty entry, and the input, which is the rest. Throws CniError.
 */
export function parseMessage(bytes: Uint8Array): CniMessage {
  const environment = new Map<string, string>();
  for (let at = 0; ; ) {
    const end = bytes.indexOf(0, at);
    if (end < 0) throw new CniError('decode', 'read CNI call: the environment has no end');
    if (end === at) return { environment, input: bytes.subarray(end + 1) };
    const entry = decodeUtf8(bytes.subarray(at, end));
    const equals = entry.indexOf('=');
    if (equals < 1) throw new CniError('decode', `read CNI call: ${entry} is no NAME=VALUE`);
    environment.set(entry.slice(0, equals), entry.slice(equals + 1));
    at = end + 1;
  }
}
