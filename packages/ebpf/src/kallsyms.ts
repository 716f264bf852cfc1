import { decodeCString, encodeUtf8 } from '@heddle/sys';

const NEWLINE = 10;
const TAB = 9;

/**
 * Returns the address of a symbol from the text of /proc/kallsyms (`address type name`, for modules
 * followed by a tab and the module's name); undefined when it is not listed, 0 when the kernel hides
 * addresses from this process (kernel.kptr_restrict).
 */
export function findSymbol(text: Uint8Array, name: string): bigint | undefined {
  const wanted = encodeUtf8(` ${name}`);
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf(NEWLINE, start);
    const end = newline < 0 ? text.length : newline;
    const afterAddress = text.indexOf(32, start);
    // After the address come a space, one letter, and the space that `wanted` starts with.
    const at = afterAddress + 2;
    if (afterAddress >= 0 && at < end && matches(text, at, wanted)) {
      const next = at + wanted.length;
      if (next === end || text[next] === TAB) {
        return BigInt(`0x${decodeCString(text.subarray(start, afterAddress))}`);
      }
    }
    start = end + 1;
  }
  return undefined;
}

function matches(text: Uint8Array, at: number, wanted: Uint8Array): boolean {
  // Backwards, because names differ more at their ends.
  for (let i = wanted.length - 1; i >= 0; i--) if (text[at + i] !== wanted[i]) return false;
  return true;
}
