import { createHash } from 'node:crypto';
import {
  BPF_PSEUDO_FUNC,
  BPF_PSEUDO_MAP_FD,
  BPF_PSEUDO_MAP_VALUE,
  type ProgramSpec,
} from '@heddle/ebpf';

/**
 * The tags that a kernel gives a program of an object: the first 8 bytes of a hash over the instructions
 * in which maps are left out (kernel/bpf/core.c, bpf_prog_calc_tag), SHA-256 from Linux 6.18 on, SHA-1
 * before. Undefined for a program whose instructions depend on the kernel's types.
 */
export function programTags({
  instructions,
  references,
  relocations,
}: ProgramSpec): readonly string[] | undefined {
  if (relocations.length > 0) return undefined;
  const code = instructions.slice();
  const view = new DataView(code.buffer);
  for (const reference of references) {
    const at = reference.at * 8;
    const is = (source: number, low: number) => {
      code[at + 1] = (code[at + 1]! & 0x0f) | (source << 4);
      view.setInt32(at + 4, low, true);
      view.setInt32(at + 12, 0, true);
    };
    if (reference.kind === 'map') is(BPF_PSEUDO_MAP_FD, 0);
    else if (reference.kind === 'data') is(BPF_PSEUDO_MAP_VALUE, 0);
    else if (reference.kind === 'function')
      is(BPF_PSEUDO_FUNC, reference.target - reference.at - 1);
    else return undefined;
  }
  return ['sha256', 'sha1'].map((name) => createHash(name).update(code).digest('hex').slice(0, 16));
}
