import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clusters } from '../../../testing/clusters.ts';
import { mapOf } from '../../../testing/map.ts';
import { foldHubs, ratesOf, readStructure } from '../../layout/structure.ts';
import { escapeXml } from './export-svg.ts';
import { linkLook } from './look.ts';
import { cellAt, firstCell, matrixAxis, matrixCells } from './matrix.ts';
import { matrixSizes } from './matrix-drawing.ts';
import {
  arrangedCards,
  beginsClosed,
  openCards,
  relationOf,
  sceneLinks,
  sceneRates,
  strongKeys,
  strongLinks,
  toggleCard,
} from './scene.ts';

function sceneOf(name: keyof typeof clusters) {
  const cluster = clusters[name]!();
  const map = mapOf(
    cluster,
    { links: cluster.links, level: 'workload', open: [], from: 0, to: 1 },
    1,
  );
  const structure = foldHubs(map);
  return { map, structure, rates: ratesOf(structure, map) };
}

test('a small map begins open and a large one closed, with its outside open', () => {
  const shop = sceneOf('shop-berlin').structure;
  const metro = sceneOf('metro-500').structure;
  assert.equal(beginsClosed(shop, {}), false);
  assert.equal(openCards(shop, {}).size, shop.groups.length);
  assert.equal(beginsClosed(metro, {}), true);
  assert.ok([...openCards(metro, {})].every((name) => name.startsWith('outside: ')));
  assert.equal(beginsClosed(metro, { level: 'workload' }), false);
});

test('opening a card twice gives the keys of before, and other cards keep their state', () => {
  const { structure } = sceneOf('metro-500');
  const opened = toggleCard('flint', false, { open: 'cedar' });
  assert.deepEqual(
    [...openCards(structure, opened)].filter((name) => !name.includes(':')),
    [...structure.groups.map(({ name }) => name).filter((name) => /^(cedar|flint)$/.test(name))],
  );
  assert.deepEqual(
    openCards(structure, toggleCard('flint', true, opened)),
    openCards(structure, { open: 'cedar' }),
  );
});

test('the height of an arranged card does not depend on what the reader opened', () => {
  const { structure } = sceneOf('metro-500');
  assert.deepEqual(arrangedCards(structure, { open: 'flint' }), arrangedCards(structure, {}));
});

test('drawn links have all rates between cards, whatever is open', () => {
  const { structure, rates } = sceneOf('metro-500');
  const sum = (open: ReadonlySet<string>) =>
    sceneLinks(structure, open)
      .filter(({ from, to }) => from.card !== to.card)
      .reduce((all, link) => all + sceneRates(link, rates).forwarded, 0);
  const closed = sum(new Set());
  assert.ok(closed > 0);
  assert.ok(Math.abs(sum(new Set(['flint', 'cedar'])) - closed) < 1e-6);
});

test('all links with trouble are among the strong ones', () => {
  const { structure, rates } = sceneOf('metro-500');
  const links = sceneLinks(structure, new Set());
  const byKey = new Map(links.map((link) => [link.key, sceneRates(link, rates)]));
  const strong = strongKeys(byKey);
  const bad = [...byKey].filter(([, { dropped, refused }]) => dropped + refused > 0);
  assert.ok(bad.length > 0 && bad.every(([key]) => strong.has(key)));
  assert.ok(strong.size >= strongLinks && strong.size <= strongLinks + bad.length);
});

test('links of a chosen workload are seen from it', () => {
  const { structure } = sceneOf('shop-berlin');
  const open = openCards(structure, {});
  const relations = sceneLinks(structure, open).map((link) => relationOf(link, 'shop/checkout'));
  assert.deepEqual(
    ['in', 'out'].map((wanted) => relations.filter((relation) => relation === wanted).length),
    [2, 7],
  );
});

test('drops are dashed and refusals dotted, and never as faint as links that are not chosen', () => {
  const place = { isInner: false, isDense: true, isWeak: false } as const;
  const rates = { forwarded: 900, dropped: 0, refused: 0, audit: 0 };
  const plain = linkLook(rates, { ...place, relation: 'other' });
  const dropped = linkLook({ ...rates, dropped: 1 }, { ...place, relation: 'other' });
  const refused = linkLook({ ...rates, refused: 1 }, { ...place, relation: 'none' });
  assert.equal(plain.dash, undefined);
  assert.equal(dropped.dash, '7 4');
  assert.equal(refused.dash, '2 3');
  assert.ok(Number(dropped.opacity) > Number(plain.opacity) && dropped.order > plain.order);
});

test('the matrix has a row for each closed namespace and each workload of an open one', () => {
  const { structure, rates } = sceneOf('metro-500');
  const flint = structure.groups.find(({ name }) => name === 'flint')!;
  const axis = matrixAxis(structure, rates, new Set(['flint']));
  assert.equal(axis.length, structure.groups.length - 1 + flint.members.length);
  const cells = matrixCells(axis, structure, rates);
  const sum = [...cells.values()].reduce((all, cell) => all + cell.dropped, 0);
  const pairs = structure.pairs.reduce((all, { key }) => all + rates.pairs.get(key)!.dropped, 0);
  assert.ok(sum > 0 && Math.abs(sum - pairs) < 1e-6);
  const first = firstCell(axis.length, cells);
  const { dropped, refused } = cells.get(first.row * axis.length + first.column)!;
  assert.ok(dropped + refused > 0);
  const sizes = matrixSizes(axis);
  assert.deepEqual(cellAt(sizes, axis.length, sizes.left + 1, sizes.top + sizes.cell + 1), {
    row: 1,
    column: 0,
  });
  assert.deepEqual(cellAt(sizes, axis.length, 3, 3), { row: -1, column: -1 });
});

test('hubs are drawn when asked for', () => {
  const { map, structure } = sceneOf('shop-berlin');
  assert.ok(structure.hubs.length > 0);
  const all = readStructure(map);
  assert.ok(all.members.has('kube-system/dns') && !structure.members.has('kube-system/dns'));
});

test('hostile names are text in an exported picture', () => {
  assert.equal(escapeXml('<img "a"&\u0000>'), '&lt;img &quot;a&quot;&amp;\ufffd&gt;');
});
