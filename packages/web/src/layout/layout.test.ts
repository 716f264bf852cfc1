import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type ArrangedCard,
  type ArrangedLinks,
  type Arrangement,
  arrange,
  closeHoles,
  extend,
  parseArrangement,
} from './arrangement.ts';
import { trophicLevels, type WeightedLink } from './levels.ts';
import {
  closedHeight,
  countColumns,
  type MapSizes,
  openHeight,
  type Placement,
  place,
} from './place.ts';
import { type DrawnLink, pathText, pointAt, routeLinks } from './route.ts';

const sizes: MapSizes = { width: 1216, height: 500, closedWidth: 150, openWidth: 190, spacing: 12 };

interface Scene {
  readonly cards: readonly ArrangedCard[];
  readonly links: ArrangedLinks;
  readonly drawn: readonly (readonly [string, string])[];
  readonly open: ReadonlySet<string>;
  readonly columns: number;
}

const nameOf = (index: number) => `ns-${index}`;
const rowOf = (card: number, row: number) => `ns-${card}/w-${row}`;

/** Clusters of up to 24 namespaces with links between and within them. */
const scenes: fc.Arbitrary<Scene> = fc
  .record({
    rows: fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 24 }),
    ends: fc.array(fc.tuple(fc.nat(), fc.nat(), fc.nat(), fc.nat(), fc.nat(2000)), {
      maxLength: 120,
    }),
    open: fc.array(fc.nat()),
    columns: fc.integer({ min: 2, max: 6 }),
  })
  .map(({ rows, ends, open, columns }) => {
    const cards = rows.map((count, card) => ({
      name: nameOf(card),
      height: closedHeight,
      rows: Array.from({ length: count }, (_, row) => rowOf(card, row)),
    }));
    const pairs = ends.map(([a, b, c, d, rate]) => {
      const from = a % rows.length;
      const to = b % rows.length;
      const weight = 1 + Math.log2(1 + rate);
      const inner = { from: rowOf(from, c % rows[from]!), to: rowOf(to, d % rows[to]!), weight };
      return { card: { from: nameOf(from), to: nameOf(to), weight }, inner };
    });
    return {
      cards,
      links: { cards: pairs.map(({ card }) => card), rows: pairs.map(({ inner }) => inner) },
      drawn: pairs.map(({ inner }) => [inner.from, inner.to] as const),
      open: new Set(open.map((index) => nameOf(index % rows.length))),
      columns,
    };
  });

const present = ({ cards }: Scene) => new Set(cards.map(({ name }) => name));
const cardOf = (row: string) => row.slice(0, row.indexOf('/'));

function drawnLinks({ drawn, open }: Scene): DrawnLink[] {
  const end = (row: string) =>
    open.has(cardOf(row)) ? { card: cardOf(row), row } : { card: cardOf(row) };
  const links = new Map(
    drawn.map(([from, to]) => {
      const link = { from: end(from), to: end(to) };
      const key = JSON.stringify(link);
      return [key, { key, ...link }] as const;
    }),
  );
  return [...links.values()];
}

const placed = (scene: Scene, arrangement: Arrangement, open = scene.open): Placement =>
  place(arrangement, present(scene), open, sizes);

test('levels of a chain grow by one from caller to called, and a cycle is level', () => {
  const chain: WeightedLink[] = [
    { from: 'a', to: 'b', weight: 3 },
    { from: 'b', to: 'c', weight: 1 },
  ];
  const levels = trophicLevels(['a', 'b', 'c'], chain);
  assert.ok(Math.abs(levels.get('b')! - levels.get('a')! - 1) < 0.01);
  assert.ok(Math.abs(levels.get('c')! - levels.get('b')! - 1) < 0.01);
  const cycle = trophicLevels(
    ['a', 'b'],
    [
      { from: 'a', to: 'b', weight: 1 },
      { from: 'b', to: 'a', weight: 1 },
    ],
  );
  assert.ok(Math.abs(cycle.get('a')! - cycle.get('b')!) < 0.01);
});

test('callers are in a column left of what they call, and the outside is at the edges', () => {
  const card = (name: string, edge?: 'first' | 'last'): ArrangedCard => ({
    ...{ name, height: 50, rows: [] },
    ...(edge ? { edge } : {}),
  });
  const cards = [card('db'), card('world', 'last'), card('web'), card('app'), card('net', 'first')];
  const link = (from: string, to: string) => ({ from, to, weight: 1 });
  const links = [link('net', 'web'), link('web', 'app'), link('app', 'db'), link('web', 'world')];
  const { columns } = arrange(cards, { cards: links, rows: [] }, 3);
  const at = (name: string) =>
    columns.findIndex((column) => column.some((each) => each.name === name));
  assert.equal(at('net'), 0);
  assert.equal(at('world'), 2);
  assert.ok(at('web') <= at('app') && at('app') <= at('db'));
  assert.ok(at('web') < at('db'));
});

test('cards never overlap, and each has its place', () => {
  fc.assert(
    fc.property(scenes, (scene) => {
      const { cards } = placed(scene, arrange(scene.cards, scene.links, scene.columns));
      assert.equal(cards.size, scene.cards.length);
      const all = [...cards.values()];
      for (const [index, one] of all.entries()) {
        for (const other of all.slice(index + 1)) {
          const isApart =
            one.x + one.width <= other.x ||
            other.x + other.width <= one.x ||
            one.y + one.height <= other.y ||
            other.y + other.height <= one.y;
          assert.ok(isApart, `${one.name} overlaps ${other.name}`);
        }
      }
    }),
  );
});

test('no link runs behind a card', () => {
  fc.assert(
    fc.property(scenes, (scene) => {
      const placement = placed(scene, arrange(scene.cards, scene.links, scene.columns));
      for (const [key, { curves, isInner }] of routeLinks(placement, drawnLinks(scene))) {
        if (isInner) continue;
        for (const curve of curves) {
          for (let share = 0; share <= 1; share += 0.05) {
            const [x, y] = pointAt(curve, share);
            for (const card of placement.cards.values()) {
              const isInside =
                x > card.x + 0.5 &&
                x < card.x + card.width - 0.5 &&
                y > card.y + 0.5 &&
                y < card.y + card.height - 0.5;
              assert.ok(!isInside, `${key} runs behind ${card.name} at ${x} ${y}`);
            }
          }
        }
      }
    }),
  );
});

test('each link between open rows or closed cards has a way that begins and ends at its cards', () => {
  fc.assert(
    fc.property(scenes, (scene) => {
      const placement = placed(scene, arrange(scene.cards, scene.links, scene.columns));
      const links = drawnLinks(scene);
      const routes = routeLinks(placement, links);
      for (const { key, from, to } of links) {
        const route = routes.get(key);
        if (from.card === to.card && from.row === undefined) {
          assert.equal(route, undefined);
          continue;
        }
        const card = placement.cards.get(from.card)!;
        const [, y] = route!.curves[0]![0];
        assert.ok(y >= card.y && y <= card.y + card.height);
        assert.match(pathText(route!.curves), /^M[-\d. ]+(C[-\d. ]+)+$/);
      }
    }),
  );
});

test('cards stay where they are when rates change, links appear and namespaces go', () => {
  fc.assert(
    fc.property(scenes, fc.array(fc.nat()), fc.nat(1000), (scene, gone, noise) => {
      const first = arrange(scene.cards, scene.links, scene.columns);
      const before = placed(scene, first);
      const lost = new Set(gone.slice(0, 3).map((index) => nameOf(index % scene.cards.length)));
      const cards = scene.cards.filter(({ name }) => !lost.has(name));
      const links = {
        cards: scene.links.cards.map((link, index) => ({
          ...link,
          weight: 1 + ((index * noise) % 11),
        })),
        rows: [],
      };
      const later = { ...scene, cards };
      const after = placed(later, extend(first, cards, links));
      for (const { name } of cards) assert.deepEqual(after.cards.get(name), before.cards.get(name));
    }),
  );
});

test('a new namespace and a new row move nothing that was there', () => {
  fc.assert(
    fc.property(scenes, fc.nat(), (scene, where) => {
      const first = arrange(scene.cards, scene.links, scene.columns);
      const before = placed(scene, first);
      const card = { name: 'new', height: closedHeight, rows: ['new/one'] };
      const grown = scene.cards[where % scene.cards.length]!;
      const cards = [
        ...scene.cards.map((each) =>
          each === grown ? { ...each, rows: ['0-first', ...each.rows] } : each,
        ),
        card,
      ];
      const next = extend(first, cards, scene.links);
      const after = placed({ ...scene, cards }, next);
      assert.ok(after.cards.has('new'));
      assert.equal(next.rows[grown.name]!.at(-1), '0-first');
      for (const [name, old] of before.cards) {
        const { x, y } = after.cards.get(name)!;
        const grownCard = before.cards.get(grown.name)!;
        const isBelow = old.column === grownCard.column && old.y > grownCard.y;
        assert.equal(x, old.x);
        if (!isBelow && after.height === before.height) assert.equal(y, old.y);
      }
    }),
  );
});

test('an opened card moves only the cards below it in its column', () => {
  fc.assert(
    fc.property(scenes, fc.nat(), (scene, which) => {
      const arrangement = arrange(scene.cards, scene.links, scene.columns);
      const none = new Set<string>();
      const closed = placed(scene, arrangement, none);
      const { name, rows } = scene.cards[which % scene.cards.length]!;
      const opened = placed(scene, arrangement, new Set([name]));
      const card = closed.cards.get(name)!;
      for (const [other, old] of closed.cards) {
        if (other === name) continue;
        const moved = opened.cards.get(other)!;
        const isBelow = old.column === card.column && old.y > card.y;
        assert.equal(moved.x, old.x);
        assert.equal(moved.y - old.y > 0.01, isBelow && openHeight(rows.length) > closedHeight);
      }
    }),
  );
});

test('the next visit has no holes, and what was kept is checked', () => {
  const arrangement = {
    columns: [
      [
        { name: 'a', height: 50 },
        { name: 'gone', height: 50 },
      ],
      [{ name: 'b', height: 50 }],
    ],
    rows: { a: ['a/1', 'a/gone'], gone: ['gone/1'], b: [] },
  };
  const cards = [
    { name: 'a', height: 72, rows: ['a/1'] },
    { name: 'b', height: 50, rows: [] },
  ];
  assert.deepEqual(closeHoles(arrangement, cards), {
    columns: [[{ name: 'a', height: 72 }], [{ name: 'b', height: 50 }]],
    rows: { a: ['a/1'], b: [] },
  });
  assert.deepEqual(parseArrangement(JSON.stringify(arrangement), 2), arrangement);
  assert.equal(parseArrangement(JSON.stringify(arrangement), 3), undefined);
  for (const text of [
    null,
    '',
    '{',
    '{}',
    '{"columns":[1,2],"rows":{}}',
    '{"columns":[[],[]],"rows":{"a":1}}',
  ])
    assert.equal(parseArrangement(text, 2), undefined, `${text}`);
});

test('the number of columns follows from the width', () => {
  assert.equal(countColumns(1216, 150, 50, 8), 6);
  assert.equal(countColumns(1856, 150, 50, 8), 8);
  assert.equal(countColumns(300, 194, 54, 7), 2);
});
