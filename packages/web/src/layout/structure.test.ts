import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { MapAnswer, MapDelta, MapLinks } from '../contract.ts';
import { applyDelta } from '../page/map-delta.ts';
import { foldHubs, ratesOf, readStructure } from './structure.ts';

const columns = [
  'forwarded',
  'dropped',
  'refused',
  'audit',
  'bytesOut',
  'bytesIn',
  'last',
] as const;

function mapOf(links: readonly (readonly [number, number, number, number])[]): MapAnswer {
  const zeros = links.map(() => 0);
  return {
    ...{ seq: 1, from: 0, to: 1 },
    namespaces: { name: ['web', 'data', 'kube-system'], outside: [false, false, false] },
    workloads: {
      namespace: [0, 0, 1, 2],
      name: ['cart', 'pay', 'db', 'dns'],
      kind: 'DDSD',
      pods: [2, 1, 3, 2],
      workloads: [1, 1, 1, 1],
    },
    links: {
      from: links.map(([from]) => from),
      to: links.map(([, to]) => to),
      protocol: links.map(() => 6),
      port: links.map((_, index) => 8000 + index),
      forwarded: links.map(([, , forwarded]) => forwarded),
      dropped: links.map(([, , , dropped]) => dropped),
      ...{ refused: zeros, audit: zeros, bytesOut: zeros, bytesIn: zeros, last: zeros },
    },
    hubs: [{ workload: 3, direction: 'called', port: 53, count: 3, of: 3 }],
    left: { links: 0, connections: 0 },
  };
}

test('links of two workloads on several ports are one pair', () => {
  const map = mapOf([
    [0, 2, 5, 0],
    [0, 2, 2, 1],
    [1, 2, 1, 0],
  ]);
  const structure = readStructure(map);
  assert.deepEqual(
    structure.pairs.map(({ key, links }) => [key, links]),
    [
      ['web/cart > data/db', [0, 1]],
      ['web/pay > data/db', [2]],
    ],
  );
  const { pairs, members } = ratesOf(structure, map);
  assert.deepEqual(pairs.get('web/cart > data/db'), {
    ...{ forwarded: 7, dropped: 1, refused: 0, audit: 0 },
  });
  assert.equal(members.get('data/db')?.in.forwarded, 8);
  assert.equal(members.get('web/cart')?.out.dropped, 1);
});

test('folded hubs take their links along, but drops with a hub count at the other end', () => {
  const map = mapOf([
    [0, 2, 5, 0],
    [0, 3, 9, 4],
    [1, 3, 9, 0],
  ]);
  const folded = foldHubs(map);
  assert.deepEqual([...folded.members.keys()], ['web/cart', 'web/pay', 'data/db']);
  assert.deepEqual(
    folded.groups.map(({ name, workloads }) => [name, workloads]),
    [
      ['web', 2],
      ['data', 1],
    ],
  );
  assert.equal(folded.pairs.length, 1);
  assert.deepEqual(folded.hubs[0]?.links, [1, 2]);
  const out = ratesOf(folded, map).members.get('web/cart')?.out;
  assert.deepEqual([out?.forwarded, out?.dropped], [5, 4]);
  assert.equal(readStructure(map).pairs.length, 3);
});

test('a map with deltas has the rates of the full answer', () => {
  const rates = fc.array(fc.tuple(fc.nat(3), fc.nat(3), fc.nat(50), fc.nat(3)), {
    minLength: 1,
    maxLength: 30,
  });
  fc.assert(
    fc.property(rates, fc.infiniteStream(fc.nat(90)), fc.nat(6), (links, values, steps) => {
      let map = mapOf(links);
      for (let step = 0; step <= steps; step++) {
        const full = changedMap(map, () => values.next().value!);
        const delta = deltaBetween(map, full);
        map = applyDelta(map, delta)!;
        assert.deepEqual(map, full);
        assert.deepEqual(ratesOf(readStructure(map), map), ratesOf(readStructure(full), full));
      }
    }),
  );
});

function changedMap(map: MapAnswer, value: () => number): MapAnswer {
  const links: MapLinks = {
    ...map.links,
    ...Object.fromEntries(
      columns.map((column) => [
        column,
        map.links[column].map((old) => {
          const fresh = value();
          return fresh % 3 === 0 ? fresh : old;
        }),
      ]),
    ),
  };
  return { ...map, seq: map.seq + 1, from: map.from + 2, to: map.to + 2, links };
}

function deltaBetween(before: MapAnswer, after: MapAnswer): MapDelta {
  const link = after.links.from.flatMap((_, index) =>
    columns.some((column) => before.links[column][index] !== after.links[column][index])
      ? [index]
      : [],
  );
  const values = columns.map((column) => [column, link.map((each) => after.links[column][each]!)]);
  return {
    ...{ seq: after.seq, base: before.seq, from: after.from, to: after.to, link },
    ...Object.fromEntries(values),
  };
}
