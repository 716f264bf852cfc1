import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressOf, externalIfindex, type Routes } from '@heddle/vm';
import { coveringCases } from '../../testing/pairs/covering.ts';
import { factors } from '../../testing/pairs/options.ts';
import { optionTests } from '../../testing/pairs/run.ts';
import { Stage } from '../../testing/pairs/stage.ts';
import { VmWorld } from '../../testing/vm-world.ts';
import { sizes } from '../../testing/world.ts';

const podDevice = 100;
const linkOf = (index: number) => `02:00:00:00:00:${index.toString(16).padStart(2, '0')}`;

optionTests('in the userspace machine', ['the first', 'in turn'], () => {
  let routes: Routes = () => -1;
  const world = new VmWorld('options', 4, {
    sizes: { ...sizes, flows: 65_536 },
    xdp: 'generic',
    routes: (route, flags) => routes(route, flags),
  });
  // The last two pods are on another node, as packets find them.
  const elsewhere = new Set(
    [2, 3].flatMap((number) => Object.values(world.pod(number).addresses).map(addressOf)),
  );
  routes = (route, flags) => {
    const index = world.host.devices.routes(route, flags);
    const at = String.fromCharCode(...route.subarray(32, route[0] === 2 ? 36 : 48));
    if ([...elsewhere].some((address) => address.endsWith(at))) {
      new DataView(route.buffer, route.byteOffset).setUint32(8, externalIfindex, true);
    }
    return index;
  };
  const entrance = (name: string, index: number) => ({
    device: { name, index, address: linkOf(index) },
    frame: { src: '02:00:00:00:99:99', dst: linkOf(index) },
  });
  const options = {
    world,
    places: {
      ...{ 'here-0': world.pod(0), 'here-1': world.pod(1) },
      ...{ 'there-0': world.pod(2), 'there-1': world.pod(3) },
    },
    there: { v4: '172.30.0.2', v6: 'fd00:172:30::2' },
    front: entrance('eth0', externalIfindex),
    pod: entrance('pod0', podDevice),
  };
  return { stage: new Stage(options), options, [Symbol.dispose]: () => world[Symbol.dispose]() };
});

test('the cases cover every pair of options, and every triple when three are asked for', () => {
  const some = { a: [0, 1, 2], b: [0, 1], c: [0, 1, 2, 3], d: [0, 1] } as const;
  for (const [given, strength] of [
    [factors, 2],
    [some, 2],
    [some, 3],
    [some, 4],
  ] as const) {
    const cases = [
      coveringCases(given, strength),
      coveringCases(given, strength, 'in turn'),
    ] as Readonly<Record<string, unknown>>[][];
    const names = Object.keys(given);
    const seen = cases.map(() => new Set<string>());
    const all = new Set<string>();
    const walk = (from: number, chosen: string[], take: (chosen: string[]) => void) => {
      if (chosen.length === strength) take(chosen);
      else for (let i = from; i < names.length; i++) walk(i + 1, [...chosen, names[i]!], take);
    };
    walk(0, [], (chosen) => {
      let combinations: unknown[][] = [[]];
      for (const name of chosen) {
        const levels = given[name as keyof typeof given] as readonly unknown[];
        combinations = combinations.flatMap((each) => levels.map((level) => [...each, level]));
      }
      for (const each of combinations) all.add(JSON.stringify([chosen, each]));
      cases.forEach((each, i) => {
        for (const one of each)
          seen[i]!.add(JSON.stringify([chosen, chosen.map((name) => one[name])]));
      });
    });
    for (const found of seen) {
      assert.deepEqual(
        [...all].filter((each) => !found.has(each)),
        [],
      );
    }
  }
  assert.deepEqual(coveringCases(some, 4).length, 3 * 2 * 4 * 2);
  assert.ok(coveringCases(factors, 2).length < 60);
});
