import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BtfBuilder } from '../testing/btf-builder.ts';
import { fixture } from '../testing/fixture.ts';
import { Btf, BtfError, essentialName } from './btf.ts';
import { readElf } from './elf.ts';

function zoo() {
  const build = new BtfBuilder();
  const ids = {
    int: build.int('int', 4, 'signed'),
    char: build.int('char', 1, 'char'),
    bool: build.int('_Bool', 1, 'bool'),
    double: build.float('double', 8),
    array: 0,
    ptr: 0,
    struct: 0,
    union: 0,
    enum: build.enum('color', { RED: 0, GREEN: 0xffffffff }),
    signed: build.enum('sign', { MINUS: -1 }, 4, true),
    enum64: build.enum64('wide', { LARGE: 0x1_0000_0001n, ALL: 0xffff_ffff_ffff_ffffn }),
    signed64: build.enum64('wider', { MINUS: -2n }, true),
    fwd: build.forward('later', 'union'),
    typedef: 0,
    func: 0,
    var: 0,
    datasec: 0,
    tag: 0,
  };
  ids.array = build.array(ids.int, 3);
  ids.ptr = build.reference('ptr', ids.int);
  ids.struct = build.struct('node', 16, [
    { name: 'next', type: ids.ptr, at: 0 },
    { name: 'low', type: ids.int, at: 64, bits: 3 },
    { name: 'high', type: ids.int, at: 67, bits: 29 },
  ]);
  ids.union = build.union('either', 12, [{ name: 'list', type: ids.array, at: 0 }]);
  const tagged = build.reference('type_tag', ids.struct, 'rcu');
  ids.typedef = build.reference(
    'typedef',
    build.reference('const', build.reference('volatile', tagged)),
    'node_t',
  );
  const prototype = build.prototype(ids.int, [{ name: 'a', type: ids.ptr }, { type: 0 }]);
  ids.func = build.func('run', prototype);
  ids.var = build.variable('counter', ids.typedef);
  ids.datasec = build.section('.data', 16, [[ids.var, 0, 16]]);
  ids.tag = build.tag('important', ids.struct, 1);
  return { btf: build.build(), ids, prototype };
}

test('Btf decodes types of every kind', () => {
  const { btf, ids, prototype } = zoo();
  assert.deepEqual(btf.typeById(0), { id: 0, kind: 'void', name: '' });
  assert.deepEqual(btf.typeById(ids.int), {
    id: ids.int,
    kind: 'int',
    name: 'int',
    size: 4,
    bits: 32,
    bitOffset: 0,
    signed: true,
    char: false,
    bool: false,
  });
  assert.deepEqual(btf.typeById(ids.double), {
    id: ids.double,
    kind: 'float',
    name: 'double',
    size: 8,
  });
  assert.deepEqual(btf.typeById(ids.struct), {
    id: ids.struct,
    kind: 'struct',
    name: 'node',
    size: 16,
    members: [
      { name: 'next', typeId: ids.ptr, bitOffset: 0, bitSize: 0 },
      { name: 'low', typeId: ids.int, bitOffset: 64, bitSize: 3 },
      { name: 'high', typeId: ids.int, bitOffset: 67, bitSize: 29 },
    ],
  });
  const values = (id: number) => {
    const type = btf.typeById(id);
    return type.kind === 'enum' || type.kind === 'enum64' ? type.values.map((v) => v.value) : [];
  };
  assert.deepEqual(values(ids.enum), [0n, 0xffffffffn]);
  assert.deepEqual(values(ids.signed), [-1n]);
  assert.deepEqual(values(ids.enum64), [0x1_0000_0001n, 0xffff_ffff_ffff_ffffn]);
  assert.deepEqual(values(ids.signed64), [-2n]);
  assert.deepEqual(btf.typeById(ids.fwd), { id: ids.fwd, kind: 'fwd', name: 'later', union: true });
  assert.deepEqual(btf.typeById(prototype), {
    id: prototype,
    kind: 'func_proto',
    name: '',
    returnTypeId: ids.int,
    parameters: [
      { name: 'a', typeId: ids.ptr },
      { name: '', typeId: 0 },
    ],
  });
  assert.deepEqual(btf.typeById(ids.func), {
    id: ids.func,
    kind: 'func',
    name: 'run',
    typeId: prototype,
    linkage: 1,
  });
  assert.deepEqual(btf.typeById(ids.datasec), {
    id: ids.datasec,
    kind: 'datasec',
    name: '.data',
    size: 16,
    entries: [{ typeId: ids.var, offset: 0, size: 16 }],
  });
  assert.deepEqual(btf.typeById(ids.tag), {
    id: ids.tag,
    kind: 'decl_tag',
    name: 'important',
    typeId: ids.struct,
    component: 1,
  });
});

test('Btf resolves typedefs, modifiers and tags', () => {
  const { btf, ids } = zoo();
  assert.equal(btf.resolve(ids.typedef), ids.struct);
  assert.equal(btf.resolved(ids.typedef).name, 'node');
});

test('Btf returns the sizes of types', () => {
  const { btf, ids } = zoo();
  const sizes = [ids.int, ids.array, ids.ptr, ids.typedef, ids.union, ids.enum64, ids.var];
  assert.deepEqual(
    sizes.map((id) => btf.sizeOf(id)),
    [4, 12, 8, 16, 12, 8, 16],
  );
  assert.throws(() => btf.sizeOf(ids.fwd), BtfError);
  assert.throws(() => btf.sizeOf(0), BtfError);
});

test('Btf finds types by name and kind', () => {
  const build = new BtfBuilder();
  const typedef = build.reference('typedef', 0, 'thing');
  const struct = build.struct('thing', 0, []);
  build.struct('thing', 4, []);
  const btf = build.build();
  assert.equal(btf.byName('thing')?.id, typedef);
  assert.equal(btf.byName('thing', 'struct')?.id, struct);
  assert.equal(btf.byName('thing', 'union'), undefined);
  assert.equal(btf.byName('thin'), undefined);
});

test('flavors of a type have the same essential name', () => {
  assert.equal(essentialName('sock___new'), 'sock');
  assert.equal(essentialName('a___b___c'), 'a___b');
  for (const whole of ['sock', 'sock___', '___sock', 'a____b', 'a__b', '']) {
    assert.equal(essentialName(whole), whole);
  }
  const build = new BtfBuilder();
  const ids = ['sock', 'sock___old', 'socket', 'sock___new'].map((name) =>
    build.struct(name, 0, []),
  );
  const btf = build.build();
  const expected = [ids[0], ids[1], ids[3]];
  assert.deepEqual(btf.idsByEssentialName('sock'), expected);
  assert.deepEqual(btf.idsByEssentialName('sock___other'), expected);
  assert.equal(btf.byName('sock___new')?.id, ids[3]);
});

test('a split BTF continues its base', () => {
  const { btf: base, ids } = zoo();
  const build = new BtfBuilder(base);
  const pointer = build.reference('ptr', ids.struct);
  const own = build.struct('module_state', 8, [{ name: 'node', type: pointer, at: 0 }]);
  const again = build.struct('node', 1, []);
  const split = build.build();
  assert.equal(split.firstId, base.endId);
  assert.equal(split.byName('module_state')?.id, own);
  assert.equal(split.byName('node')?.id, ids.struct);
  assert.deepEqual(split.idsByEssentialName('node'), [ids.struct, again]);
  assert.equal(split.resolved(ids.typedef).name, 'node');
  assert.equal(split.sizeOf(own), 8);
  assert.throws(() => base.typeById(own), BtfError);
});

test('an error of BTF names the part that is wrong', () => {
  const good = zoo().btf.bytes;
  const changed = (at: number, value: number) => {
    const bytes = good.slice();
    bytes[at] = value;
    return () => Btf.parse(bytes);
  };
  assert.throws(() => Btf.parse(good.slice(0, 20)), /shorter than its header/);
  assert.throws(() => Btf.parse(good.slice(0, 100)), /lies beyond the end/);
  assert.throws(changed(0, 1), /no BTF magic/);
  assert.throws(changed(2, 9), /version 9/);
  assert.throws(changed(24 + 7, 31), /type 1 has the unknown kind 31/);
  const self = new BtfBuilder();
  const id = self.reference('typedef', 1, 'self');
  assert.throws(() => self.build().resolve(id), /refers to itself/);
  assert.throws(() => self.build().typeById(7), /no type has id 7/);
  assert.throws(() => self.build().typeById(-1), /no type has id -1/);
  assert.throws(() => self.build().typeById(0.5), /no type has id 0.5/);
});

/** Asks everything of each type; anything but a result or a BtfError is a fault. */
function explore(bytes: Uint8Array): void {
  try {
    const btf = Btf.parse(bytes);
    btf.byName('node');
    for (let id = 0; id < btf.endId; id++) {
      for (const question of [
        () => btf.typeById(id),
        () => btf.sizeOf(id),
        () => btf.resolved(id),
      ]) {
        try {
          question();
        } catch (error) {
          if (!(error instanceof BtfError)) throw error;
        }
      }
    }
  } catch (error) {
    if (!(error instanceof BtfError)) throw error;
  }
}

test('damaged BTF results in a BtfError or in types', () => {
  const section = readElf(fixture('codecs.o')).sections.find(({ name }) => name === '.BTF');
  const bases = [zoo().btf.bytes, section!.bytes];
  fc.assert(
    fc.property(
      fc.constantFrom(...bases),
      fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 8 }),
      fc.option(fc.nat(), { freq: 3, nil: undefined }),
      (base, changes, cut) => {
        const bytes = base.slice(0, cut === undefined ? base.length : cut % base.length);
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        explore(bytes);
      },
    ),
    { numRuns: 400 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (tail) => {
      explore(tail);
      // The same behind a header, so that more of it is looked at.
      const bytes = new Uint8Array(24 + tail.length + 1);
      const view = new DataView(bytes.buffer);
      const types = tail.length - (tail.length % 4);
      for (const [i, word] of [0x0001eb9f, 24, 0, types].entries()) {
        view.setUint32(i * 4, word, true);
      }
      view.setUint32(16, types, true);
      view.setUint32(20, bytes.length - 24 - types, true);
      bytes.set(tail, 24);
      if (types > 0) bytes[24 + types] = 0;
      explore(bytes);
    }),
    { numRuns: 400 },
  );
});
