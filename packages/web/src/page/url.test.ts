import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  changeRoute,
  formatRoute,
  parseRoute,
  type Route,
  type TimeWindow,
  views,
  windowKeys,
  windowOf,
} from './url.ts';

const text = fc.string({ unit: 'grapheme', minLength: 1 }).filter((value) => value.isWellFormed());
const plain = { noNullPrototype: true };
const route: fc.Arbitrary<Route> = fc.record(
  {
    view: fc.constantFrom(...views),
    path: fc.array(text, { maxLength: 3 }),
    keys: fc.dictionary(text, text, plain),
  },
  plain,
);

test('a route comes back from its fragment', () => {
  fc.assert(
    fc.property(route, (given) => {
      assert.deepEqual(parseRoute(formatRoute(given)), given);
    }),
  );
});

test('equal routes have equal fragments, whatever the order of their keys', () => {
  fc.assert(
    fc.property(route, (given) => {
      const turned = Object.fromEntries(Object.entries(given.keys).reverse());
      assert.equal(formatRoute({ ...given, keys: turned }), formatRoute(given));
    }),
  );
});

test('any fragment gives a route that stays the same', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (hash) => {
      const once = formatRoute(parseRoute(hash));
      assert.equal(formatRoute(parseRoute(once)), once);
    }),
  );
});

test('a fragment with a broken escape or an unknown view is read', () => {
  assert.deepEqual(parseRoute('#/drops?f=%E0%A4%A'), {
    view: 'drops',
    path: [],
    keys: { f: '%E0%A4%A' },
  });
  assert.equal(parseRoute('#/future?x=1').view, 'map');
  assert.equal(parseRoute('').view, 'map');
});

test('filters, names and times stay readable in a fragment', () => {
  const keys = { f: 'ns:shop to:10.0.0.0/8 1+1', as: 'grouped' };
  assert.equal(
    formatRoute({ view: 'flows', path: [], keys }),
    '#/flows?f=ns:shop+to:10.0.0.0/8+1%2B1&as=grouped',
  );
});

test('a change of the view keeps the filter and the window, and keys of later versions only in place', () => {
  const given = parseRoute('#/map?f=ns:shop&w=1h&sel=shop/cart&later=1');
  assert.equal(formatRoute(changeRoute(given, { view: 'flows' })), '#/flows?f=ns:shop&w=1h');
  assert.equal(
    formatRoute(changeRoute(given, { keys: { sel: undefined } })),
    '#/map?f=ns:shop&w=1h&later=1',
  );
});

test('a window comes back from its keys', () => {
  const time = fc.integer({ min: 0, max: 4e12 });
  const minutes = fc.integer({ min: 1, max: 1440 });
  const window = fc.oneof(
    fc.record({ kind: fc.constant('live' as const), minutes }, plain),
    fc.record({ kind: fc.constant('paused' as const), minutes, at: time }, plain),
    fc
      .tuple(time, fc.integer({ min: 1, max: 1e9 }))
      .map(([from, length]): TimeWindow => ({ kind: 'range', from, to: from + length })),
  );
  fc.assert(
    fc.property(window, (given) => {
      const changed = changeRoute(parseRoute('#/map?w=5m'), { keys: windowKeys(given) });
      assert.deepEqual(windowOf(parseRoute(formatRoute(changed))), given);
    }),
  );
});

test('a wrong window counts as the last 15 minutes', () => {
  for (const keys of ['w=0m', 'w=99h', 'w=x', 'at=x', 'from=2026-01-02&to=2026-01-01']) {
    assert.deepEqual(windowOf(parseRoute(`#/map?${keys}`)), { kind: 'live', minutes: 15 });
  }
});
