import { encodeUtf8 } from '@heddle/sys';
import type { CniVersion } from './call.ts';
import type { CniError } from './errors.ts';
import { errorResult } from './result.ts';

/** Returns the bytes of the answer to a call that succeeded, with what the plug-in prints. */
export function encodeResult(output: object | undefined): Uint8Array {
  return encodeUtf8(`0${output === undefined ? '' : JSON.stringify(output)}`);
}

/** Returns the bytes of the answer to a call that failed, in a version of the specification. */
export function encodeError(version: CniVersion, error: CniError): Uint8Array {
  const output = JSON.stringify(errorResult(version, error));
  return encodeUtf8(`${error.kind === 'starting' ? 2 : 1}${output}`);
}
