import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BtfBuilder } from '../testing/btf-builder.ts';
import { ElfBuilder } from '../testing/elf-builder.ts';
import { fixture } from '../testing/fixture.ts';
import { BtfError } from './btf.ts';
import { ElfError, readElf, STT_FUNC } from './elf.ts';
import { btfForKernel } from './object-btf.ts';
import { readObject } from './object-spec.ts';

const features = fixture('features.o');

test('an ELF file has sections, symbols and relocations', () => {
  const elf = readElf(features);
  const names = elf.sections.map((section) => section.name);
  for (const name of ['.text', 'tc', 'xdp.frags', '.maps', '.rodata.config', '.BTF', 'license']) {
    assert.ok(names.includes(name), name);
  }
  const bss = elf.sections.find((section) => section.name === '.bss')!;
  assert.equal(bss.bytes.length, 0);
  assert.ok(bss.size > 0);
  const first = elf.symbols.find((symbol) => symbol.name === 'first')!;
  assert.equal(first.type, STT_FUNC);
  assert.equal(elf.sections[first.section]!.name, 'tc');
  const code = elf.relocations.get(first.section)!;
  assert.ok(code.some((relocation) => relocation.symbol.name === 'jumps'));
});

test('sections share the bytes of the file', () => {
  const bytes = new Uint8Array(features.length + 3);
  bytes.set(features, 3);
  const elf = readElf(bytes.subarray(3));
  assert.equal(elf.sections.find((section) => section.name === 'tc')!.bytes.buffer, bytes.buffer);
});

test('an ElfError names the part that is wrong', () => {
  const changed = (at: number, ...values: number[]) => {
    const bytes = features.slice();
    bytes.set(values, at);
    return () => readElf(bytes);
  };
  assert.throws(() => readElf(new Uint8Array()), /not an ELF file/);
  assert.throws(() => readElf(features.slice(0, 200)), /section header table lies beyond/);
  assert.throws(changed(0, 1), /not an ELF file/);
  assert.throws(changed(4, 1), /not a 64-bit ELF file/);
  assert.throws(changed(5, 2), /not little-endian/);
  assert.throws(changed(18, 62), /not a relocatable BPF object/);
  assert.throws(changed(62, 0xff, 0xff), /no section name table/);
  assert.throws(changed(40, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), /out of range/);
});

test('names and relocations that overlap are refused', () => {
  const long = new ElfBuilder();
  long.section({ name: 'x'.repeat(5000) });
  assert.throws(
    () => readElf(long.bytes()),
    /^ElfError: read object: name of section 1 is longer than 4096 bytes/,
  );
  const types = new BtfBuilder();
  types.int('y'.repeat(5000), 4);
  assert.throws(() => types.build().nameOf(1), /string at 1 is longer than 4096 bytes/);
});

function explore(bytes: Uint8Array): void {
  try {
    const spec = readObject(bytes);
    if (spec.btf !== undefined) btfForKernel(spec.btf);
  } catch (error) {
    if (!(error instanceof ElfError) && !(error instanceof BtfError)) throw error;
  }
}

test('damaged objects result in an ElfError, a BtfError or a Spec', () => {
  const bases = ['features.o', 'core.o', 'codecs.o'].map(fixture);
  const damage = fc.array(
    fc.tuple(fc.nat(), fc.oneof(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), fc.nat(255))),
    { minLength: 1, maxLength: 6 },
  );
  fc.assert(
    fc.property(fc.constantFrom(...bases), damage, (base, changes) => {
      const bytes = base.slice();
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      explore(bytes);
    }),
    { numRuns: 300 },
  );
  // Random changes find most errors in the ELF header and in the section headers at the end.
  fc.assert(
    fc.property(fc.constantFrom(...bases), damage, fc.boolean(), (base, changes, atEnd) => {
      const bytes = base.slice();
      const headers = new DataView(base.buffer).getUint32(40, true);
      const start = atEnd ? headers : 0;
      const length = atEnd ? bytes.length - headers : 64;
      for (const [at, value] of changes) bytes[start + (at % length)] = value;
      explore(bytes);
    }),
    { numRuns: 300 },
  );
  fc.assert(
    fc.property(fc.constantFrom(...bases), fc.nat(), (base, length) => {
      explore(base.slice(0, length % base.length));
    }),
    { numRuns: 100 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (tail) => {
      const bytes = features.slice(0, 64 + tail.length);
      bytes.set(tail, 64);
      explore(bytes);
      explore(tail);
    }),
    { numRuns: 200 },
  );
});
