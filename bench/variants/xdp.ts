import { attachXdp, BpfProgram, LinuxBpf, programTypes } from '@heddle/ebpf';
import type { Lab, LabHost } from '@heddle/lab';
import { wireEnd } from '../sites.ts';

/** An action of the shortest program. */
export const xdpActions = { drop: 1, pass: 2, send: 3 } as const;

/** Has a device do that with all frames that arrive, in its driver, until it is disposed. */
export function runXdp(
  place: LabHost,
  device: string,
  action: keyof typeof xdpActions,
): Disposable {
  const bpf = new LinuxBpf(place.platform);
  const { index } = place.link(device);
  // struct bpf_insn twice: r0 = action; exit.
  const instructions = new Uint8Array(16);
  instructions[0] = 0xb7;
  instructions[4] = xdpActions[action];
  instructions[8] = 0x95;
  using program = BpfProgram.load(bpf, {
    ...{ name: action, type: programTypes.xdp, instructions, license: 'GPL' },
  });
  return place.enter(() => attachXdp(bpf, program, index, 'native'));
}

/** Makes the other end of the wire take what XDP sends: a virtual one only does with a program. */
export function takeFromXdp(lab: Lab): Disposable {
  return runXdp(lab.underlay, wireEnd, 'pass');
}
