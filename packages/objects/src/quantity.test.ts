import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readQuantity } from './quantity.ts';

test('quantities are read as Kubernetes reads them', () => {
  const known: Record<string, bigint> = {
    '0': 0n,
    '10M': 10_000_000n,
    '1k': 1000n,
    '1P': 10n ** 15n,
    '1E': 10n ** 18n,
    '1.5Gi': 1_610_612_736n,
    '1Ki': 1024n,
    '.5k': 500n,
    '5.': 5n,
    '+3': 3n,
    '1e6': 1_000_000n,
    '1E3': 1000n,
    '12E-1': 2n,
    '100m': 1n,
    '1500m': 2n,
    '-1500m': -1n,
    '1n': 1n,
  };
  for (const [text, value] of Object.entries(known)) assert.equal(readQuantity(text), value, text);
});

test('other texts are no quantities', () => {
  const texts = [
    '',
    '.',
    'k',
    '-',
    '1K',
    '1KB',
    '1 M',
    '10Mbit',
    '1ki',
    '1.2.3',
    'e3',
    '1e',
    '1e+',
  ];
  for (const text of [...texts, '١', `${'1'.repeat(65)}`, '1e9999']) {
    assert.equal(readQuantity(text), undefined, text);
  }
});

test('a whole number with a suffix is that many units', () => {
  const units = { '': 1n, k: 10n ** 3n, M: 10n ** 6n, Ki: 1n << 10n, Gi: 1n << 30n } as const;
  const unit = fc.constantFrom(...(Object.keys(units) as (keyof typeof units)[]));
  fc.assert(
    fc.property(fc.nat(), unit, (count, name) => {
      assert.equal(readQuantity(`${count}${name}`), BigInt(count) * units[name]);
    }),
  );
});

test('no text makes the reader fail', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      readQuantity(text);
    }),
  );
});
