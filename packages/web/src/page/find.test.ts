import assert from 'node:assert/strict';
import { test } from 'node:test';
import { completionOf, findItems, firstActive, markParts } from './find.ts';

const sources = { text: '', filter: 'ns:shop', found: [], values: [], saved: [] };
const ledger = {
  ...{ kind: 'workload' as const, name: 'payments/ledger', detail: 'Deployment, 2 pods' },
  ...{ route: '#/workload/payments/ledger', word: 'with:payments/ledger' },
};

test('a name has its place first, which Enter opens, and a filter', () => {
  const items = findItems({ ...sources, text: 'led', found: [ledger] });
  assert.equal(firstActive(items), 0);
  assert.deepEqual(
    items.map(({ label, route, filter }) => [label, route, filter]),
    [
      ['payments/ledger', '#/workload/payments/ledger', 'ns:shop with:payments/ledger'],
      ['led', undefined, 'ns:shop led'],
    ],
  );
});

test('the value of a key is completed, also behind other words and excluded', () => {
  assert.deepEqual(completionOf('port:53 -ns:sh'), {
    ...{ before: 'port:53 ', minus: '-', key: 'ns', prefix: 'sh' },
  });
  assert.equal(completionOf('cart'), undefined);
  const items = findItems({
    ...sources,
    text: 'port:53 -ns:pa',
    values: [{ value: 'payments', count: 6 }],
  });
  assert.deepEqual(items, [
    {
      ...{ group: 'Values', icon: 'view-flows', label: '-ns:payments', detail: '6' },
      filter: 'ns:shop port:53 -ns:payments',
    },
  ]);
  assert.equal(firstActive(items), -1);
});

test('the beginning of a key is completed in the field', () => {
  const items = findItems({ ...sources, text: 'port:53 verd' });
  const key = items.find(({ label }) => label === 'verdict:');
  assert.equal(key?.text, 'port:53 verdict:');
});

test('kept filters that have the text are offered', () => {
  const items = findItems({ ...sources, saved: ['ns:shop', 'ns:data port:5432'] });
  assert.deepEqual(
    items.map(({ filter }) => filter),
    ['ns:data port:5432'],
  );
});

test('a wrong word is not offered as a filter', () => {
  assert.deepEqual(findItems({ ...sources, text: 'nonsense:1 x' }), []);
});

test('what was typed is marked in a label', () => {
  assert.deepEqual(markParts('payments/Ledger', 'led'), ['payments/', 'Led', 'ger']);
  assert.deepEqual(markParts('cart', 'x'), ['cart', '', '']);
});
