import { decodeUtf8, isMissing, type Platform, readFile, SysError } from '@heddle/sys';
import type { Known } from '../facts.ts';

/** Returns the text of a file without the spaces around it. Throws SysError. */
export function readText(platform: Platform, path: string): string {
  return decodeUtf8(readFile(platform, path)).trim();
}

/** Returns the text of a file, or undefined if there is none. Throws SysError. */
export function readTextIfAny(platform: Platform, path: string): string | undefined {
  try {
    return readText(platform, path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Returns the result of `read`, or the reason why it failed. */
export function known<Value>(read: () => Value): Known<Value> {
  try {
    return { value: read() };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { unknown: error.message };
  }
}

/** Returns true if an error is one of these of a system call. */
export function isSysError(error: unknown, ...codes: readonly string[]): error is SysError {
  return error instanceof SysError && codes.includes(error.code);
}

/** Returns the numbers of a list such as `0-3,8`. */
export function readNumberList(text: string): number[] {
  return text.split(',').flatMap((part) => {
    const found = /^(\d+)(?:-(\d+))?$/.exec(part.trim());
    if (!found) return [];
    const [first, last] = [Number(found[1]), Number(found[2] ?? found[1])];
    return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i);
  });
}
