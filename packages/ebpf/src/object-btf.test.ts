import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BtfBuilder } from '../testing/btf-builder.ts';
import { fixture } from '../testing/fixture.ts';
import { Btf } from './btf.ts';
import { btfForKernel } from './object-btf.ts';
import { readObject } from './object-spec.ts';

test('declarations of kernel symbols are replaced, and ids and strings stay the same', () => {
  const build = new BtfBuilder();
  const int = build.int('int', 4, 'signed');
  const prototype = build.prototype(int, [
    { name: 'named', type: int },
    { type: int },
    { type: 0 },
  ]);
  const func = build.func('kernel_function', prototype, 2);
  const symbol = build.variable('kernel_symbol', int, 2);
  const tag = build.tag('tagged', symbol);
  const own = build.variable('own', int);
  const symbols = build.section('.ksyms', 0, [
    [func, 0, 0],
    [symbol, 0, 4],
  ]);
  const data = build.section('.data', 4, [[own, 0, 4]]);
  const btf = build.build();
  const loaded = Btf.parse(btfForKernel(btf));
  assert.equal(loaded.endId, btf.endId);
  assert.deepEqual([...loaded.strings], [...btf.strings]);
  assert.deepEqual(loaded.typeById(func), { ...btf.typeById(func), linkage: 1 });
  const type = loaded.typeById(prototype);
  assert.deepEqual(type.kind === 'func_proto' && type.parameters.map(({ name }) => name), [
    'named',
    'kernel_function',
    '',
  ]);
  assert.equal(loaded.typeById(symbol).kind, 'ptr');
  assert.equal(loaded.typeById(tag).kind, 'ptr');
  assert.deepEqual(loaded.typeById(symbols), {
    id: symbols,
    kind: 'struct',
    name: '',
    size: 0,
    members: [],
  });
  for (const id of [int, own, data]) assert.deepEqual(loaded.typeById(id), btf.typeById(id));
});

test('an object without declarations of kernel symbols keeps its types', () => {
  const { btf } = readObject(fixture('codecs.o'));
  const loaded = Btf.parse(btfForKernel(btf!));
  for (let id = 1; id < btf!.endId; id++) assert.deepEqual(loaded.typeById(id), btf!.typeById(id));
});
