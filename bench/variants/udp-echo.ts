import { attachTcx, BpfProgram, LinuxBpf, programTypes } from '@heddle/ebpf';
import type { LabPod } from '@heddle/lab';

/** An instruction: code, destination and source register, offset or jump, immediate. */
type Instruction = readonly [number, number, number, number, number];

// linux/bpf.h, linux/bpf_common.h
const MOVE = 0xb7;
const MOVE_REGISTER = 0xbf;
const ADD = 0x07;
const load = { 1: 0x71, 2: 0x69, 4: 0x61 } as const;
const store = { 1: 0x73, 2: 0x6b, 4: 0x63 } as const;
const JUMP_IF_GREATER = 0x2d;
const JUMP_UNLESS_EQUAL = 0x55;
const CALL = 0x85;
const EXIT = 0x95;
const redirect = 23;
// Offsets in struct __sk_buff.
const DATA = 76;
const DATA_END = 80;

/**
 * Answers each UDP datagram of IPv4 to a port of the pod with itself, in the kernel: a process would be slower
 * than a flood, and what is measured is the path to it. Ends when it is disposed.
 */
export function echoUdp(pod: LabPod, port: number): Disposable {
  const bpf = new LinuxBpf(pod.platform);
  const { index } = pod.link('eth0');
  const bigEndian = (value: number) => ((value & 0xff) << 8) | (value >> 8);
  const swap = (a: number, b: number, size: 2 | 4): Instruction[] => [
    [load[size], 4, 2, a, 0],
    [load[size], 5, 2, b, 0],
    [store[size], 2, 4, b, 0],
    [store[size], 2, 5, a, 0],
  ];
  const answer: Instruction[] = [
    // Link-layer addresses, IPv4 addresses, ports: sums stay as they are.
    ...[...swap(0, 6, 4), ...swap(4, 10, 2), ...swap(26, 30, 4), ...swap(34, 36, 2)],
    [MOVE, 1, 0, 0, index],
    [MOVE, 2, 0, 0, 0],
    [CALL, 0, 0, 0, redirect],
    [EXIT, 0, 0, 0, 0],
  ];
  const tests: Instruction[] = [
    [load[2], 4, 2, 12, 0],
    [JUMP_UNLESS_EQUAL, 4, 0, 0, bigEndian(0x0800)],
    [load[1], 4, 2, 23, 0],
    [JUMP_UNLESS_EQUAL, 4, 0, 0, 17],
    [load[2], 4, 2, 36, 0],
    [JUMP_UNLESS_EQUAL, 4, 0, 0, bigEndian(port)],
  ];
  const program: Instruction[] = [
    [load[4], 2, 1, DATA, 0],
    [load[4], 3, 1, DATA_END, 0],
    [MOVE_REGISTER, 4, 2, 0, 0],
    [ADD, 4, 0, 0, 42],
    [JUMP_IF_GREATER, 4, 3, 0, 0],
    ...tests,
    ...answer,
    // Everything else goes the usual way.
    [MOVE, 0, 0, 0, 0],
    [EXIT, 0, 0, 0, 0],
  ];
  const elsewhere = program.length - 2;
  const bytes = new Uint8Array(8 * program.length);
  const view = new DataView(bytes.buffer);
  program.forEach(([code, to, from, offset, immediate], i) => {
    const jumps = code === JUMP_IF_GREATER || code === JUMP_UNLESS_EQUAL;
    view.setUint8(8 * i, code);
    view.setUint8(8 * i + 1, to | (from << 4));
    view.setInt16(8 * i + 2, jumps ? elsewhere - i - 1 : offset, true);
    view.setInt32(8 * i + 4, immediate, true);
  });
  using loaded = BpfProgram.load(bpf, {
    ...{ name: 'echo_udp', type: programTypes.sched_cls, instructions: bytes },
    license: 'Dual BSD/GPL',
  });
  return pod.enter(() => attachTcx(bpf, loaded, index, 'ingress'));
}
