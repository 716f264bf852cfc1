import type { Btf } from '@heddle/ebpf';
import type { SourceLine } from './fault.ts';

/**
 * Finds source lines in the line information of a program (struct bpf_line_info, 16 bytes each,
 * ascending). A slot belongs to the last line that begins at or before it.
 */
export function sourceLines(
  lineInfo: Uint8Array | undefined,
  btf: Btf | undefined,
): (slot: number) => SourceLine | undefined {
  if (!lineInfo || !btf) return () => undefined;
  const view = new DataView(lineInfo.buffer, lineInfo.byteOffset, lineInfo.byteLength);
  const count = lineInfo.length / 16;
  return (slot) => {
    let [from, to] = [0, count];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (view.getUint32(16 * middle, true) <= slot) from = middle + 1;
      else to = middle;
    }
    if (from === 0) return undefined;
    const at = 16 * (from - 1);
    const position = view.getUint32(at + 12, true);
    return {
      file: btf.string(view.getUint32(at + 4, true)),
      text: btf.string(view.getUint32(at + 8, true)),
      line: position >>> 10,
      column: position & 0x3ff,
    };
  };
}
