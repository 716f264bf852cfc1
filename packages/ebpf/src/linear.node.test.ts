import { test } from 'node:test';
import { assertLinear } from '@heddle/sys/testing/growth';
import { BtfBuilder } from '../testing/btf-builder.ts';
import { ElfBuilder } from '../testing/elf-builder.ts';
import { Btf } from './btf.ts';
import { readElf } from './elf.ts';

test('the time to read an object file grows with its sections, symbols and relocations', () => {
  assertLinear(
    'an object file',
    300,
    (units) => {
      const elf = new ElfBuilder();
      const section = elf.section({ name: 'text', bytes: new Uint8Array(8) });
      const symbol = elf.symbol({ name: 'first', section });
      for (let i = 0; i < units; i++) {
        elf.section({ name: `section${i}`, bytes: new Uint8Array(8) });
        elf.symbol({ name: `symbol${i}`, section });
        elf.relocation(section, 0, 1, symbol);
      }
      return elf.bytes();
    },
    (bytes) => void readElf(bytes),
  );
});

test('the time to read BTF and to find its types grows with their number', () => {
  assertLinear(
    'BTF',
    500,
    (units) => {
      const types = new BtfBuilder();
      for (let i = 0; i < units; i++) types.int(`type${i}`, 4);
      return types.build().bytes;
    },
    (bytes) => {
      const btf = Btf.parse(bytes);
      for (let id = btf.firstId; id < btf.endId; id++) btf.byName(btf.nameOf(id));
    },
  );
});
