import assert from 'node:assert/strict';
import { test } from 'node:test';
import { code, ElfBuilder } from '../testing/elf-builder.ts';
import { readObject } from './object-spec.ts';

// Instructions, 8 bytes each.
const exit = [0x95, 0, 0, 0, 0, 0, 0, 0];
const call = (immediate: number) => [0x85, 0x10, 0, 0, ...word(immediate)];
const load = (immediate: number) => [0x18, 1, 0, 0, ...word(immediate), 0, 0, 0, 0, 0, 0, 0, 0];
const word = (value: number) => [...new Uint8Array(Int32Array.of(value).buffer)];
const R_64_64 = 1;
const R_64_32 = 10;
const local = { binding: 0 };

/** Immediate of the instruction at a slot of the linked program. */
function immediate(bytes: Uint8Array, slot: number): number {
  return new DataView(bytes.buffer).getInt32(slot * 8 + 4, true);
}

/** One program, `main`, in `tc`; more is added by the test. */
function object(main: number[], more: (elf: ElfBuilder, tc: number) => void = () => {}) {
  const elf = new ElfBuilder();
  const tc = elf.section({ name: 'tc', bytes: Uint8Array.from(main), ...code });
  elf.symbol({ name: 'main', section: tc, size: main.length });
  more(elf, tc);
  return () => readObject(elf.bytes()).programs.get('main')!;
}

test('calls are linked by the symbol of a section, by that of a function, and without one', () => {
  const main = [...call(0), ...call(-1), ...call(0), ...exit];
  const text = [...exit, ...exit, ...call(-2), ...exit];
  const linked = object(main, (elf, tc) => {
    const section = elf.section({ name: '.text', bytes: Uint8Array.from(text), ...code });
    elf.symbol({ name: 'unused', section, value: 0, size: 8 });
    elf.symbol({ name: 'b', section, value: 8, size: 8, ...local });
    const c = elf.symbol({ name: 'c', section, value: 16, size: 16 });
    const whole = elf.symbol({ name: '.text', section, type: 3, ...local });
    elf.relocation(tc, 0, R_64_32, whole);
    elf.relocation(tc, 8, R_64_32, c);
    elf.relocation(tc, 16, R_64_32, whole);
  })();
  // main (4 slots), b (1), c (2), in the order in which they are met; c calls b within .text.
  assert.equal(linked.instructions.length, 7 * 8);
  assert.deepEqual(
    [0, 1, 2, 5].map((slot) => slot + 1 + immediate(linked.instructions, slot)),
    [4, 5, 4, 4],
  );
  assert.deepEqual(linked.references, []);
  assert.throws(object([...call(5), ...exit]), /main calls an address where no function starts/);
});

test('a function may call itself', () => {
  const linked = object([...call(-1), ...exit])();
  assert.equal(immediate(linked.instructions, 0), -1);
  assert.equal(linked.instructions.length, 16);
});

test('addresses of data are relative to the start of the section', () => {
  const linked = object([...load(4), ...load(2), ...exit], (elf, tc) => {
    const data = elf.section({ name: '.data.mine', bytes: new Uint8Array(16) });
    const variable = elf.symbol({ name: 'x', type: 1, section: data, value: 8, size: 8 });
    const whole = elf.symbol({ name: '', type: 3, section: data, ...local });
    elf.relocation(tc, 0, R_64_64, whole);
    elf.relocation(tc, 16, R_64_64, variable);
  })();
  assert.deepEqual(linked.references, [
    { kind: 'data', at: 0, map: '.data.mine', offset: 4 },
    { kind: 'data', at: 2, map: '.data.mine', offset: 10 },
  ]);
  assert.equal(immediate(linked.instructions, 0), 0);
});

test('the linker refuses wrong references', () => {
  const undefinedCall = object([...call(-1), ...exit], (elf, tc) => {
    elf.relocation(tc, 0, R_64_32, elf.symbol({ name: 'memcpy', type: 0, section: 0 }));
  });
  assert.throws(undefinedCall, /function main uses memcpy, which is not defined/);
  const elsewhere = object([...load(0), ...exit], (elf, tc) => {
    const section = elf.section({ name: '.debug', bytes: new Uint8Array(8), flags: 0 });
    elf.relocation(tc, 0, R_64_64, elf.symbol({ name: 'x', type: 1, section }));
  });
  assert.throws(elsewhere, /refers to x in section \.debug, which holds neither maps nor data/);
  const misplaced = object(exit, (elf, tc) => elf.relocation(tc, 0, R_64_64, 1));
  assert.throws(misplaced, /refers to main in an instruction that can't/);
  const type = object([...load(0), ...exit], (elf, tc) => elf.relocation(tc, 0, 2, 1));
  assert.throws(type, /relocation of type 2/);
  assert.throws(object(load(0).slice(0, 8)), /function main ends within an instruction/);
  const overlapping = object([...exit, ...exit], (elf, section) => {
    elf.symbol({ name: 'other', section, value: 8, size: 8 });
  });
  assert.throws(overlapping, /functions main and other overlap/);
  const beyond = object(exit, (elf, section) => {
    elf.symbol({ name: 'other', section, value: 8, size: 8 });
  });
  assert.throws(beyond, /function other lies beyond section tc/);
  const broken = object(exit, (elf, section) => {
    elf.symbol({ name: 'other', section, value: 4, size: 4 });
  });
  assert.throws(broken, /function other is not made of whole instructions/);
});
