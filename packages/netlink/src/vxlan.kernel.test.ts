import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sandbox } from '../testing/kernel.ts';
import { addAddress } from './addresses.ts';
import { changeLink, findLink, IFF_NOARP, listLinks } from './links.ts';
import { addRoute, listRoutes, type Route, removeRoute } from './routes.ts';
import { createVxlan } from './vxlan.ts';

const device = { name: 'vx', address: '02:00:00:00:00:07', mtu: 1450, arp: false, up: true };

test('createVxlan creates a device in external mode with its port, and flags of the link', () => {
  using here = sandbox();
  const link = createVxlan(here.socket, device, { port: 8472 });
  assert.deepEqual(findLink(here.socket, 'vx'), link);
  const { kind, address, mtu, up, vxlan, flags } = link;
  assert.deepEqual(
    { kind, address, mtu, up, vxlan, noArp: (flags & IFF_NOARP) !== 0 },
    {
      kind: 'vxlan',
      address: device.address,
      mtu: 1450,
      up: true,
      vxlan: { port: 8472 },
      noArp: true,
    },
  );
  changeLink(here.socket, link.index, { arp: true, mtu: 1400 });
  const changed = findLink(here.socket, 'vx')!;
  assert.deepEqual([changed.flags & IFF_NOARP, changed.mtu, changed.up], [0, 1400, true]);
});

test('a second device with the port fails and leaves nothing behind', () => {
  using here = sandbox();
  createVxlan(here.socket, device, { port: 8472 });
  assert.throws(() => createVxlan(here.socket, { name: 'other' }, { port: 8472 }), {
    code: 'EEXIST',
  });
  const names = listLinks(here.socket).map(({ name }) => name);
  assert.deepEqual(names, ['lo', 'vx']);
});

test('routes into tunnels of both families are added, listed by their protocol, and removed', () => {
  using here = sandbox();
  const { socket } = here;
  const link = createVxlan(socket, device, { port: 8472 }).index;
  addAddress(socket, link, '10.7.1.1/32');
  addAddress(socket, link, 'fd00:7:1::1/128');
  const ends = [
    { id: 77, destination: '192.0.2.2', source: '192.0.2.1', hopLimit: 64, checksum: false },
    { id: 0xfffffe, destination: 'fd00::2', hopLimit: 3, checksum: true },
  ];
  const routes = ends.flatMap((encap, i): Route[] => [
    { destination: `10.7.${i + 2}.0/24`, source: '10.7.1.1', link, encap, protocol: 104 },
    { destination: `fd00:7:${i + 2}::/64`, source: 'fd00:7:1::1', link, encap, protocol: 104 },
  ]);
  for (const route of routes) addRoute(socket, route);
  const ours = () => listRoutes(socket).filter(({ protocol }) => protocol === 104);
  assert.deepEqual(
    ours()
      .map(({ destination, source, encap }) => ({ destination, source, encap }))
      .sort((a, b) => (a.destination < b.destination ? -1 : 1)),
    routes
      .map(({ destination, source, encap }) => ({ destination, source, encap }))
      .sort((a, b) => (a.destination < b.destination ? -1 : 1)),
  );
  assert.equal(removeRoute(socket, { destination: '10.7.2.0/24', protocol: 99 }), false);
  for (const { destination } of routes) {
    assert.equal(removeRoute(socket, { destination, protocol: 104 }), true);
  }
  assert.deepEqual(ours(), []);
});
