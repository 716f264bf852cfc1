import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BtfBuilder } from '../testing/btf-builder.ts';
import { fixture } from '../testing/fixture.ts';
import { Btf, BtfError } from './btf.ts';
import { readBtfExt } from './btf-ext.ts';
import { readElf } from './elf.ts';

const build = new BtfBuilder();
build.int('int', 4);
const [tc, access, file, text] = ['tc', '0:1', 'a.c', 'return 0;'].map((s) => build.string(s));
const btf = build.build();

/** `.BTF.ext` of its three parts, each a list of words. */
function ext(functions: number[], lines: number[], relocations: number[]): Uint8Array {
  const parts = [functions, lines, relocations];
  const words = [0x0001eb9f, 32];
  let offset = 0;
  for (const part of parts) {
    words.push(offset, part.length * 4);
    offset += part.length * 4;
  }
  return new Uint8Array(Uint32Array.from([...words, ...parts.flat()]).buffer);
}

test('.BTF.ext has functions, lines and relocations by section, in order', () => {
  const bytes = ext(
    [8, tc!, 2, 16, 2, 0, 1],
    [16, tc!, 1, 8, file!, text!, (7 << 10) | 3],
    // Larger records than known: the rest is left alone.
    [20, tc!, 1, 24, 1, access!, 9, 0xffff],
  );
  assert.deepEqual(
    readBtfExt(bytes, btf),
    new Map([
      [
        'tc',
        {
          functions: [
            { offset: 0, typeId: 1 },
            { offset: 16, typeId: 2 },
          ],
          lines: [{ offset: 8, fileOffset: file, textOffset: text, line: 7, column: 3 }],
          relocations: [{ offset: 24, typeId: 1, access: '0:1', kind: 9 }],
        },
      ],
    ]),
  );
});

test('.BTF.ext may be empty', () => {
  assert.equal(readBtfExt(ext([], [], []), btf).size, 0);
});

test('an error of .BTF.ext names the part that is wrong', () => {
  const good = ext([8, tc!, 1, 0, 1], [], []);
  const changed = (at: number, value: number) => {
    const bytes = good.slice();
    new DataView(bytes.buffer).setUint32(at, value, true);
    return () => readBtfExt(bytes, btf);
  };
  assert.throws(() => readBtfExt(good.slice(0, 10), btf), /shorter than its header/);
  assert.throws(changed(0, 0), /no magic/);
  assert.throws(changed(0, 0x0009eb9f), /version 9/);
  assert.throws(changed(12, 400), /functions lie beyond/);
  assert.throws(changed(32, 4), /functions in \.BTF\.ext have records of 4 bytes/);
  assert.throws(changed(40, 5), /functions in \.BTF\.ext are cut off/);
  assert.throws(changed(36, 9999), /string offset 9999/);
});

test('damaged .BTF.ext results in a BtfError or in records', () => {
  const elf = readElf(fixture('features.o'));
  const section = (name: string) => elf.sections.find((candidate) => candidate.name === name)!;
  const types = Btf.parse(section('.BTF').bytes.slice());
  const whole = section('.BTF.ext').bytes;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 6 }),
      fc.nat(whole.length),
      (changes, length) => {
        const bytes = whole.slice(0, length);
        for (const [at, value] of changes) if (at < length) bytes[at] = value;
        try {
          readBtfExt(bytes, types);
        } catch (error) {
          if (!(error instanceof BtfError)) throw error;
        }
      },
    ),
    { numRuns: 300 },
  );
});
