import { decodeCString, encodeUtf8 } from '@heddle/sys';

const NEWLINE = 10;
const TAB = 9;

/**
 * Address of a symbol by the text of /proc/kallsyms (`address type name`, for modules followed by
 * a tab and the module's name). Undefined when it isn't listed; 0 when the kernel hides addresses
 * from this process (kernel.kptr_restrict).
 */
export function findSymbol(text: Uint8Array, name: string): bigint | undefined {
  const wanted = encodeUtf8(` ${name}`);
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf(NEWLINE, start);
    const end = newline < 0 ? text.length : newline;
    const afterAddress = text.indexOf(32, start);
    // Behind the address: a space, one letter, and the blank that `wanted` starts with.
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
  // From the end, where names differ more.
  for (let i = wanted.length - 1; i >= 0; i--) if (text[at + i] !== wanted[i]) return false;
  return true;
}
