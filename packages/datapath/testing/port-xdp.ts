import { attachXdp, type Bpf, BpfProgram, LinuxBpf, programTypes } from '@heddle/ebpf';
import type { Lab } from '@heddle/lab';

const XDP_PASS = 2;

/** Returns an XDP program that passes everything on. */
export function loadPass(bpf: Bpf): BpfProgram {
  // struct bpf_insn twice: r0 = XDP_PASS; exit.
  const instructions = new Uint8Array(16);
  instructions[0] = 0xb7;
  instructions[4] = XDP_PASS;
  instructions[8] = 0x95;
  return BpfProgram.load(bpf, {
    ...{ name: 'pass', type: programTypes.xdp, instructions, license: 'GPL' },
    // Frames in several pieces, for large MTUs.
    flags: 1 << 5,
  });
}

/**
 * Makes the other ends of the nodes' interfaces accept packets that XDP sends, until disposed: a veth passes them only to
 * a peer that has an XDP program itself, here one that passes everything.
 */
export function takeFromXdp(lab: Lab): Disposable {
  const bpf = new LinuxBpf(lab.underlay.platform);
  using program = loadPass(bpf);
  using links = new DisposableStack();
  for (const node of lab.nodes) {
    const { index } = lab.underlay.link(`port${node.number}`);
    links.use(lab.underlay.enter(() => attachXdp(bpf, program, index, 'native')));
  }
  return links.move();
}
