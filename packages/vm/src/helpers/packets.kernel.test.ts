import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Bpf, LinuxBpf } from '@heddle/ebpf';
import { nodePlatform } from '@heddle/sys/node';
import { loadText } from '../../testing/run.ts';
import { VmBpf } from '../vm-bpf.ts';

const kernel = new LinuxBpf(nodePlatform(() => {}));
const machine = new VmBpf();

/** A frame of that type whose other bytes are all different. */
function frame(type: number, length: number): Uint8Array {
  const bytes = Uint8Array.from({ length }, (_, i) => i);
  bytes.set([type >> 8, type & 0xff], 12);
  return bytes;
}

/** Two adjustments. The result of the first one is written behind the frame's addresses. */
function adjust(bpf: Bpf, data: Uint8Array, first: Adjustment, second: Adjustment): string {
  const call = ([by, mode, flags]: Adjustment) => `
    r1 = r6; r2 = ${by}; r3 = ${mode}; r4 = ${flags}; call 50`;
  const program = loadText(
    bpf,
    `r6 = r1
     ${call(first)}
     r7 = r0
     ${call(second)}
     r0 <<= 16
     r7 &= 65535
     r0 |= r7
     r1 = *(u32 *)(r6 + 16)
     r0 ^= r1
     exit`,
  );
  using _ = program;
  const result = program.testRun({ data, dataRoom: 512 });
  return `${result.returnValue >>> 0} ${Buffer.from(result.data).toString('hex')}`;
}

type Adjustment = readonly [by: number, mode: number, flags: number];

test('bpf_skb_adjust_room has the results and packets of the kernel', () => {
  const mac = 1;
  const nothing: Adjustment = [0, mac, 0];
  const wrap4: Adjustment = [20, mac, 3];
  const wrap6: Adjustment = [40, mac, 5];
  const unwrap4: Adjustment = [-20, mac, 1];
  const cases: (readonly [Adjustment, Adjustment])[] = [
    ...[wrap4, wrap6, unwrap4].map((each) => [each, nothing] as const),
    ...[wrap4, wrap6].map((each) => [wrap4, each] as const),
    ...([unwrap4, [-40, mac, 1]] as const).map((each) => [wrap4, each] as const),
    ...(
      [
        [8, 0, 0],
        [-8, 0, 0],
        [8, 2, 0],
        [20, mac, 6],
        [-20, mac, 3],
        [0x1000, mac, 0],
        [-80, mac, 0],
        [-79, mac, 0],
        [4, mac, 0x200],
      ] as const
    ).map((each) => [each, nothing] as const),
  ];
  for (const type of [0x0800, 0x86dd, 0x0806]) {
    for (const [first, second] of cases) {
      const data = frame(type, 114);
      assert.equal(
        adjust(machine, data, first, second),
        adjust(kernel, data, first, second),
        `${type.toString(16)}: ${first}, then ${second}`,
      );
    }
  }
});

test('bpf_skb_change_type has the results of the kernel', () => {
  const data = frame(0x0800, 64);
  for (const type of [0, 1, 2, 3, 4, 7]) {
    const change = (bpf: Bpf) => {
      using program = loadText(
        bpf,
        `r6 = r1
         r2 = ${type}; call 32
         r1 = *(u32 *)(r6 + 4)
         r0 <<= 8
         r0 |= r1
         exit`,
      );
      return program.testRun({ data }).returnValue >>> 0;
    };
    assert.equal(change(machine), change(kernel), `type ${type}`);
  }
});

test('bpf_csum_update has the result of the kernel for a packet that no interface has summed', () => {
  const data = frame(0x0800, 64);
  const update = (bpf: Bpf) => {
    using program = loadText(bpf, 'r2 = 1; call 40; exit');
    return program.testRun({ data }).returnValue | 0;
  };
  assert.equal(update(machine), update(kernel));
});

test('bpf_skb_ecn_set_ce has the results and packets of the kernel', () => {
  const headers: readonly (readonly [type: number, start: readonly number[]])[] = [
    ...[0, 1, 2, 3, 0xb9].map((tos) => [0x0800, [0x45, tos]] as const),
    ...[0x00, 0x10, 0x20, 0x30, 0x9f].map((second) => [0x86dd, [0x60, second]] as const),
    [0x0806, [0, 1]],
  ];
  for (const [type, start] of headers) {
    const data = frame(type, 100);
    data.set(start, 14);
    const mark = (bpf: Bpf) => {
      using program = loadText(bpf, 'call 97; exit');
      const result = program.testRun({ data, dataRoom: 100 });
      return `${result.returnValue | 0} ${Buffer.from(result.data).toString('hex')}`;
    };
    assert.equal(mark(machine), mark(kernel), `${type.toString(16)} ${start}`);
  }
});

test('bpf_skb_set_tstamp has the results of the kernel', () => {
  for (const type of [0x0800, 0x86dd, 0x0806]) {
    for (const [time, kind] of [
      [0, 0],
      [0, 1],
      [5, 1],
      [5, 9],
    ] as const) {
      const set = (bpf: Bpf) => {
        using program = loadText(
          bpf,
          `r6 = r1
           r2 = ${time}; r3 = ${kind}; call 192
           r1 = *(u64 *)(r6 + 152)
           r0 <<= 8
           r0 |= r1
           exit`,
        );
        return program.testRun({ data: frame(type, 100) }).returnValue | 0;
      };
      assert.equal(set(machine), set(kernel), `${type.toString(16)}: ${time}, ${kind}`);
    }
  }
});

test('bpf_skb_set_tunnel_key and bpf_skb_get_tunnel_key have the results of the kernel', () => {
  for (const [label, extension, flags] of [
    [0, 0, 0],
    [0, 0, 1],
    [0, 0, 2],
    [7, 0, 0],
    [7, 0, 1],
    [0, 1, 0],
    [0, 0, 0x100],
  ] as const) {
    const call = (bpf: Bpf) => {
      using program = loadText(
        bpf,
        `r6 = r1
         r1 = 0
         *(u64 *)(r10 - 48) = r1; *(u64 *)(r10 - 40) = r1; *(u64 *)(r10 - 32) = r1
         *(u64 *)(r10 - 24) = r1; *(u64 *)(r10 - 16) = r1; *(u64 *)(r10 - 8) = r1
         r1 = r6; r2 = r10; r2 += -48; r3 = 44; r4 = 0; call 20
         r7 = r0
         r1 = ${label}; *(u32 *)(r10 - 24) = r1
         r1 = ${extension}; *(u16 *)(r10 - 26) = r1
         r1 = r6; r2 = r10; r2 += -48; r3 = 44; r4 = ${flags}; call 21
         r0 <<= 8
         r7 &= 255
         r0 |= r7
         exit`,
      );
      return program.testRun({ data: frame(0x0800, 64) }).returnValue | 0;
    };
    assert.equal(call(machine), call(kernel), `label ${label}, ${extension}, flags ${flags}`);
  }
});
