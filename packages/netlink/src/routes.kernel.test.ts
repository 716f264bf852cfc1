import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sandbox } from '../testing/kernel.ts';
import { addAddress } from './addresses.ts';
import { createVeth } from './links.ts';
import { addNeighbour, listNeighbours, removeNeighbour, replaceNeighbour } from './neighbours.ts';
import { addRoute, listRoutes, type Route, removeRoute, replaceRoute } from './routes.ts';

function withLink() {
  const here = sandbox();
  // Without a carrier the kernel marks routes as dead, so both ends are up.
  const pair = createVeth(here.socket, { name: 'a', up: true }, { name: 'b', up: true });
  const link = pair.link.index;
  addAddress(here.socket, link, '10.1.0.1/24');
  addAddress(here.socket, link, 'fd00::1/64');
  return { ...here, link };
}

function routeTo(here: { socket: Parameters<typeof listRoutes>[0] }, destination: string) {
  const routes = listRoutes(here.socket).filter((route) => route.destination === destination);
  assert.ok(routes.length <= 1, `several routes to ${destination}`);
  return routes[0];
}

function matches(actual: Route | undefined, expected: Partial<Route>): void {
  const picked = Object.fromEntries(
    Object.keys(expected).map((key) => [key, actual?.[key as keyof Route]]),
  );
  assert.deepEqual(picked, expected);
}

test('routes with all properties are added, listed and removed', () => {
  using here = withLink();
  const { link } = here;
  const routes: Route[] = [
    { destination: '0.0.0.0/0', via: '10.1.0.9' },
    { destination: '10.2.0.0/16', via: '192.168.7.7', link, onlink: true, mtu: 1300 },
    { destination: '10.3.0.3/32', link, scope: 'link', source: '10.1.0.1' },
    { destination: '10.4.0.0/16', via: '10.1.0.9', metric: 77 },
    { destination: '10.5.0.0/16', via: 'fd00::9', link },
    { destination: '10.6.0.0/16', type: 'unreachable' },
    { destination: '::/0', via: 'fd00::9' },
    { destination: 'fd01::/64', via: 'fe80::9', link, onlink: true },
    { destination: 'fd02::2/128', link, source: 'fd00::1' },
  ];
  for (const route of routes) {
    addRoute(here.socket, route);
    matches(routeTo(here, route.destination), route);
    assert.throws(() => addRoute(here.socket, route), { code: 'EEXIST' });
  }
  for (const route of routes) {
    assert.equal(removeRoute(here.socket, route), true, route.destination);
    assert.equal(removeRoute(here.socket, route), false, route.destination);
  }
});

test('multipath routes are added, listed, replaced and removed', () => {
  using here = withLink();
  const { link, socket } = here;
  for (const [destination, first, second] of [
    ['10.2.0.0/16', '10.1.0.8', '10.1.0.9'],
    ['fd01::/64', 'fd00::8', 'fd00::9'],
  ] as const) {
    const hop = (via: string, weight: number) => ({ via, link, onlink: false, weight });
    const route: Route = {
      destination,
      nextHops: [
        { via: first, link },
        { via: second, weight: 3 },
      ],
    };
    addRoute(socket, route);
    assert.throws(() => addRoute(socket, route), { code: 'EEXIST' });
    matches(routeTo(here, destination), {
      destination,
      nextHops: [hop(first, 1), hop(second, 3)],
      via: undefined,
      link: undefined,
    });
    replaceRoute(socket, { destination, nextHops: [{ via: second }, { via: first, weight: 256 }] });
    matches(routeTo(here, destination), { nextHops: [hop(second, 1), hop(first, 256)] });
    assert.equal(removeRoute(socket, { destination }), true);
    assert.equal(routeTo(here, destination), undefined);
  }
});

test('a next hop has the properties onlink and link, and the family of its router', () => {
  using here = withLink();
  const { link, socket } = here;
  addRoute(socket, {
    destination: '10.2.0.0/16',
    nextHops: [
      { via: '192.168.7.7', link, onlink: true },
      { via: 'fd00::9', link },
    ],
  });
  matches(routeTo(here, '10.2.0.0/16'), {
    nextHops: [
      { via: '192.168.7.7', link, onlink: true, weight: 1 },
      { via: 'fd00::9', link, onlink: false, weight: 1 },
    ],
  });
  for (const weight of [0, 257, 1.5]) {
    const nextHops = [{ via: '10.1.0.9', weight }];
    assert.throws(() => addRoute(socket, { destination: '10.3.0.0/16', nextHops }), RangeError);
  }
  const named = { destination: '10.3.0.0/16', link: 'a' as unknown as number };
  assert.throws(() => addRoute(socket, named), /add route to 10\.3\.0\.0\/16: link a is not/);
});

test('replaceRoute replaces a route', () => {
  using here = withLink();
  for (const [destination, first, second] of [
    ['10.2.0.0/16', '10.1.0.8', '10.1.0.9'],
    ['fd01::/64', 'fd00::8', 'fd00::9'],
  ] as const) {
    replaceRoute(here.socket, { destination, via: first });
    replaceRoute(here.socket, { destination, via: second });
    assert.equal(routeTo(here, destination)?.via, second);
  }
});

test('listRoutes lists one table', () => {
  using here = withLink();
  addRoute(here.socket, { destination: '10.2.0.0/16', via: '10.1.0.9', table: 1000 });
  assert.equal(routeTo(here, '10.2.0.0/16'), undefined);
  assert.equal(listRoutes(here.socket, 1000)[0]?.destination, '10.2.0.0/16');
});

test("an error contains the kernel's explanation", () => {
  using here = withLink();
  assert.throws(() => addRoute(here.socket, { destination: '10.2.0.0/16', via: '172.16.0.1' }), {
    code: 'ENETUNREACH',
    detail: /gateway/,
  });
});

test('neighbours are added, replaced, listed and removed', () => {
  using here = withLink();
  const { link, socket } = here;
  for (const address of ['10.1.0.9', 'fd00::9']) {
    const neighbour = { link, address, lladdr: '02:00:00:00:00:09' };
    addNeighbour(socket, neighbour);
    assert.throws(() => addNeighbour(socket, neighbour), { code: 'EEXIST' });
    replaceNeighbour(socket, { ...neighbour, lladdr: '02:00:00:00:00:0a' });
    const found = listNeighbours(socket, link).find((each) => each.address === address);
    assert.deepEqual(found, {
      link,
      address,
      lladdr: '02:00:00:00:00:0a',
      state: 0x80,
      permanent: true,
    });
    assert.equal(removeNeighbour(socket, link, address), true);
    assert.equal(removeNeighbour(socket, link, address), false);
  }
});
