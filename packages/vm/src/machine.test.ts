import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BpfMap, mapTypes, programTypes, VerifierError } from '@heddle/ebpf';
import { mapSpec } from '@heddle/ebpf/testing/map-spec';
import { assemble } from '../testing/assembler.ts';
import { loadText } from '../testing/run.ts';
import { VmFault } from './fault.ts';
import { VmBpf } from './vm-bpf.ts';

const packet = new Uint8Array(64);

/** Runs a program on a packet of zeros. */
function run(source: string, bpf = new VmBpf(), maps: Record<string, BpfMap> = {}): number {
  using program = loadText(bpf, source, maps);
  return program.testRun({ data: packet }).returnValue;
}

/** Returns the message of the fault that a program ends with. */
function faultOf(source: string, bpf = new VmBpf(), maps: Record<string, BpfMap> = {}): string {
  try {
    run(source, bpf, maps);
  } catch (error) {
    if (error instanceof VmFault) return error.message;
    throw error;
  }
  assert.fail('no fault');
}

/** Returns the reason why a program can't be loaded. */
function refusalOf(source: string): string {
  try {
    using _program = loadText(new VmBpf(), source);
  } catch (error) {
    if (error instanceof VerifierError) return error.message;
    throw error;
  }
  assert.fail('it was loaded');
}

describe('memory', () => {
  test('an access through a null pointer faults', () => {
    assert.equal(
      faultOf('r1 = 0; r0 = *(u32 *)(r1 + 4); exit'),
      'run program test: read of 4 bytes through a null pointer (plus 4) at instruction 1',
    );
  });

  test('an access outside of the stack frame faults', () => {
    assert.match(
      faultOf('r0 = *(u64 *)(r10 - 520); exit'),
      /read of 8 bytes at offset -8 of the stack frame of 512 bytes at instruction 0$/,
    );
    assert.match(
      faultOf('*(u8 *)(r10 + 0) = 1; exit'),
      /write of 1 byte at offset 512 of the stack frame of 512 bytes at instruction 0$/,
    );
    assert.match(
      faultOf('r1 = 4; lock *(u64 *)(r10 - 4) += r1; exit'),
      /write of 8 bytes at offset 508/,
    );
  });

  test('an access behind the packet faults, also by a helper', () => {
    assert.match(
      faultOf('r1 = *(u32 *)(r1 + 76); r0 = *(u64 *)(r1 + 60); exit'),
      /read of 8 bytes at offset 60 of the packet of 64 bytes at instruction 1$/,
    );
    const long = 'r6 = *(u32 *)(r1 + 76); r2 = 4; r3 = r6; r4 = 100; call 26; exit';
    assert.match(
      faultOf(long),
      /write of 100 bytes at offset 0 of the packet of 64 bytes at instruction 4$/,
    );
  });

  test('an access by a number faults, and one beyond the region of a pointer', () => {
    assert.match(
      faultOf('r1 = 0x712345678 ll; r0 = *(u8 *)(r1 + 0); exit'),
      /read of 1 byte at 0x[0-9a-f]+, which is no pointer at instruction 2$/,
    );
    assert.match(faultOf('r1 = r10; r1 <<= 1; r0 = *(u8 *)(r1 + 0); exit'), /which is no pointer/);
    assert.match(faultOf('r1 = r10; r1 += -1000; r0 = *(u8 *)(r1 + 0); exit'), /no pointer/);
  });

  test('a write to read-only memory faults', () => {
    const bpf = new VmBpf();
    const spec = mapSpec({ name: 'constants', type: mapTypes.array, maxEntries: 1, flags: 1 << 7 });
    using constants = BpfMap.create(bpf, spec);
    assert.match(
      faultOf('r1 = value constants; *(u32 *)(r1 + 0) = 1; exit', bpf, { constants }),
      /write of 4 bytes at offset 0 of a value of map constants of 4 bytes, which is read-only/,
    );
    assert.match(
      faultOf('*(u32 *)(r1 + 4) = 1; exit'),
      /write of 4 bytes at offset 4 of the context/,
    );
  });

  test('a deleted value is valid until the program that has its address ends', () => {
    const bpf = new VmBpf();
    using hash = BpfMap.create(bpf, mapSpec({ name: 'hash' }));
    hash.update(new Uint8Array(4), Uint8Array.of(7, 0, 0, 0));
    const source = `
      *(u32 *)(r10 - 4) = 0
      r1 = map hash; r2 = r10; r2 += -4; call 1
      r6 = r0
      r1 = map hash; r2 = r10; r2 += -4; call 3
      r0 = *(u32 *)(r6 + 0)
      exit`;
    assert.equal(run(source, bpf, { hash }), 7);
    assert.deepEqual([...hash.entries()], []);
  });
});

describe('limits', () => {
  test('a run with too many instructions faults', () => {
    const endless = 'again:; goto again; exit';
    assert.equal(
      faultOf(endless, new VmBpf({ budget: 1000 })),
      'run program test: more than 1000 instructions in one run at instruction 0',
    );
    // The loop runs 3 instructions 3 times; one instruction is before it and one after it.
    const loop = 'r1 = 3; again:; r1 -= 1; r0 = 5; if r1 != 0 goto again; exit';
    assert.equal(run(loop, new VmBpf({ budget: 11 })), 5);
    assert.match(faultOf(loop, new VmBpf({ budget: 10 })), /more than 10 instructions/);
  });

  test('a call that is nested too deeply faults', () => {
    assert.match(
      faultOf('call deeper; exit; deeper:; call deeper; exit'),
      /more than 8 functions deep at instruction 2$/,
    );
  });

  test('the thirty-fourth tail call has no effect', () => {
    const bpf = new VmBpf();
    using programs = BpfMap.create(bpf, mapSpec({ name: 'programs', type: mapTypes.prog_array }));
    using count = BpfMap.create(
      bpf,
      mapSpec({ name: 'count', type: mapTypes.array, maxEntries: 1 }),
    );
    using again = loadText(
      bpf,
      `
      r6 = value count; r2 = 1; lock *(u32 *)(r6 + 0) += r2
      r2 = map programs; r3 = 3; call 12
      r0 = *(u32 *)(r6 + 0)
      exit`,
      { programs, count },
    );
    programs.update(Uint8Array.of(3, 0, 0, 0), Uint8Array.of(again.fd, 0, 0, 0));
    assert.equal(again.testRun({ data: packet }).returnValue, 34);
    const none = 'r0 = 9; r2 = map programs; r3 = 99; call 12; exit';
    assert.equal(run(none, bpf, { programs, count }), 9);
  });

  test('the observer is called for each instruction in order', () => {
    const bpf = new VmBpf();
    const seen: number[] = [];
    bpf.machine.observer = (_, slot) => seen.push(slot);
    assert.equal(run('r0 = 1 ll; call sub; exit; sub:; r0 = 7; exit', bpf), 7);
    assert.deepEqual(seen, [0, 2, 4, 5, 3]);
  });
});

describe('loading', () => {
  for (const [what, source, message] of [
    [
      'an unknown helper',
      'call 9999; exit',
      /instruction 0: invalid func 9999: the userspace machine has no helper of this number/,
    ],
    [
      'an unknown kernel function',
      'call kfunc 77; exit',
      /instruction 0: calling kernel function 77 is not allowed/,
    ],
    ['an end that is run over', 'r0 = 1', /instruction 0: the program runs over its end/],
    [
      'a jump out of it',
      'goto +5; exit',
      /instruction 0: the jump target 6 is outside the program/,
    ],
    [
      'a jump into the middle',
      'goto +1; r0 = 1 ll; exit',
      /instruction 0: the jump target 2 is inside an instruction/,
    ],
    ['division by an immediate 0', 'r0 /= 0; exit', /instruction 0: division by zero/],
    ['a shift too far', 'w0 <<= 32; exit', /instruction 0: a shift by 32/],
    ['a write to r10', 'r10 = 1; exit', /instruction 0: r10 \(the frame pointer\) is read-only/],
  ] as const) {
    test(`the loader refuses ${what}`, () => {
      assert.match(refusalOf(source), message);
    });
  }

  test('the loader refuses unknown opcodes and reserved fields', () => {
    const load = (...bytes: number[]) => {
      const instructions = Uint8Array.from([...bytes, 0x95, 0, 0, 0, 0, 0, 0, 0]);
      const options = { name: 'test', type: programTypes.xdp, instructions, license: 'GPL' };
      return () => new VmBpf().programLoad(options);
    };
    assert.throws(load(0xff, 0, 0, 0, 0, 0, 0, 0), /instruction 0: there is no operation 0xff/);
    assert.throws(load(0x07, 0x10, 0, 0, 1, 0, 0, 0), /instruction 0: reserved fields are used/);
    assert.throws(load(0xdb, 0x10, 0, 0, 0x33, 0, 0, 0), /there is no atomic operation 0x33/);
    assert.throws(load(0xb7, 0x0b, 0, 0, 1, 0, 0, 0), /there is no register r11/);
  });

  test('the loader names the section of a program with an unknown helper', () => {
    const { bytes } = assemble('call 9999; exit');
    const options = {
      name: 'web',
      section: 'cgroup/connect4',
      type: 18,
      instructions: bytes,
      license: 'GPL',
    };
    assert.throws(
      () => new VmBpf().programLoad(options),
      /invalid func 9999: .* \(section cgroup\/connect4\)/,
    );
  });
});

test('the caller determines random numbers and time', () => {
  const draws = (seed: number) => run('call 7; exit', new VmBpf({ seed }));
  assert.equal(draws(1), draws(1));
  assert.notEqual(draws(1), draws(2));
  assert.equal(run('call 5; r0 >>= 32; exit', new VmBpf({ now: () => 5n << 32n })), 5);
});
