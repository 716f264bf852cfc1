import { attachTcx, BpfProgram, LinuxBpf, programTypes } from '@heddle/ebpf';
import type { LabNode } from '@heddle/lab';
import type { Platform } from '@heddle/sys';

/**
 * Sends all that enters at a node's eth0 back where it came from, by the shortest program that can:
 * `return bpf_redirect(ifindex, 0)`. It ends when it is disposed.
 */
export function redirectBack(platform: Platform, node: LabNode): Disposable {
  const bpf = new LinuxBpf(platform);
  const { index } = node.link('eth0');
  // struct bpf_insn: code, registers, offset, immediate.
  const program = new Uint8Array(4 * 8);
  const view = new DataView(program.buffer);
  const move = 0xb7;
  const call = 0x85;
  const redirect = 23;
  const instructions = [
    { code: move, register: 1, immediate: index },
    { code: move, register: 2, immediate: 0 },
    { code: call, register: 0, immediate: redirect },
    { code: 0x95, register: 0, immediate: 0 },
  ];
  instructions.forEach(({ code, register, immediate }, i) => {
    view.setUint8(8 * i, code);
    view.setUint8(8 * i + 1, register);
    view.setInt32(8 * i + 4, immediate, true);
  });
  using loaded = BpfProgram.load(bpf, {
    name: 'redirect',
    type: programTypes.sched_cls,
    instructions: program,
    license: 'Dual BSD/GPL',
  });
  return node.enter(() => attachTcx(bpf, loaded, index, 'ingress'));
}
