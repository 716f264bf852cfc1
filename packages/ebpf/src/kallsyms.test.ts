import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeUtf8 } from '@heddle/sys';
import { findSymbol } from './kallsyms.ts';

const text = encodeUtf8(
  [
    'ffffffff81000000 T _text',
    'ffffffff82a00040 D init_net_more',
    'ffffffff82a00080 D init_net',
    '0000000000000000 t hidden',
    'ffffffffc0001000 t of_module\t[nf_tables]',
    '',
  ].join('\n'),
);

test('a symbol of kallsyms is found by its whole name', () => {
  assert.equal(findSymbol(text, 'init_net'), 0xffffffff82a00080n);
  assert.equal(findSymbol(text, '_text'), 0xffffffff81000000n);
  assert.equal(findSymbol(text, 'of_module'), 0xffffffffc0001000n);
  assert.equal(findSymbol(text, 'hidden'), 0n);
  assert.equal(findSymbol(text, 'init'), undefined);
  assert.equal(findSymbol(text, 'T'), undefined);
  assert.equal(findSymbol(new Uint8Array(), 'x'), undefined);
  assert.equal(findSymbol(encodeUtf8('garbage without\nblanks\n'), 'blanks'), undefined);
});
