import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '@heddle/sys/testing/eventually';
import { platform, sandbox, withoutFdLeak } from '../testing/kernel.ts';
import { addAddress, removeAddress } from './addresses.ts';
import { isNetlinkError } from './errors.ts';
import { changeLink, createBridge, createVeth, deleteLink } from './links.ts';
import { addNeighbour, removeNeighbour } from './neighbours.ts';
import { addRoute, removeRoute } from './routes.ts';
import { type NetworkEvent, type NetworkGroup, watchNetwork } from './watch.ts';

/** Returns a namespace that is watched; `next` waits for the first event that `matches`. */
function watched(...groups: NetworkGroup[]) {
  return watchedWith(undefined, ...groups);
}

/** Returns a namespace that is watched with a buffer of that size. */
function watchedWith(bufferBytes: number | undefined, ...groups: NetworkGroup[]) {
  const here = sandbox();
  const events: NetworkEvent[] = [];
  const watch = here.namespace.enter(() =>
    watchNetwork(platform, groups, (event) => events.push(event), bufferBytes),
  );
  return {
    ...here,
    events,
    next(what: string, matches: (event: NetworkEvent) => boolean): Promise<NetworkEvent> {
      return eventually(what, () => {
        const at = events.findIndex(matches);
        return at >= 0 && events.splice(0, at + 1).at(-1)!;
      });
    },
    [Symbol.dispose]() {
      watch[Symbol.dispose]();
      here[Symbol.dispose]();
    },
  };
}

test('watchNetwork reports links', async () => {
  using here = watched('links');
  const { index } = createVeth(here.socket, { name: 'a' }, { name: 'b' }).link;
  const isLink = (event: NetworkEvent, isRemoved: boolean, name: string) =>
    event.kind === 'link' &&
    event.link.index === index &&
    event.isRemoved === isRemoved &&
    event.link.name === name;
  await here.next('a is created', (event) => isLink(event, false, 'a'));
  changeLink(here.socket, index, { name: 'renamed' });
  await here.next('a is renamed', (event) => isLink(event, false, 'renamed'));
  deleteLink(here.socket, index);
  await here.next('the link is deleted', (event) => isLink(event, true, 'renamed'));
});

test('watchNetwork does not take the end of a bridge port for the end of its link', async () => {
  using here = watched('links');
  const bridge = createBridge(here.socket, { name: 'br0' });
  const { link } = createVeth(here.socket, { name: 'a', master: bridge.index }, { name: 'b' });
  changeLink(here.socket, link.index, { master: 0 });
  deleteLink(here.socket, bridge.index);
  await here.next(
    'the bridge is deleted',
    (event) => event.kind === 'link' && event.isRemoved && event.link.index === bridge.index,
  );
  const removed = here.events.filter((event) => event.kind === 'link' && event.isRemoved);
  assert.deepEqual(removed, []);
});

test('watchNetwork reports addresses, routes and neighbours of both families', async () => {
  using here = watched('addresses', 'routes', 'neighbours');
  const { socket } = here;
  const { index: link } = createVeth(socket, { name: 'a', up: true }, { name: 'b', up: true }).link;
  for (const [prefix, address, destination] of [
    ['10.1.0.1/24', '10.1.0.9', '10.2.0.0/16'],
    ['fd00::1/64', 'fd00::9', 'fd01::/64'],
  ] as const) {
    const own = prefix.split('/')[0];
    const hasAddress = (event: NetworkEvent, isRemoved: boolean) =>
      event.kind === 'address' && event.isRemoved === isRemoved && event.address.address === own;
    const hasRoute = (event: NetworkEvent, isRemoved: boolean) =>
      event.kind === 'route' &&
      event.isRemoved === isRemoved &&
      event.route.destination === destination &&
      event.route.via === address;
    const hasNeighbour = (event: NetworkEvent, isRemoved: boolean) =>
      event.kind === 'neighbour' &&
      event.isRemoved === isRemoved &&
      event.neighbour.address === address;
    addAddress(socket, link, prefix);
    await here.next(`${prefix} is added`, (event) => hasAddress(event, false));
    addRoute(socket, { destination, via: address });
    await here.next(`the route to ${destination} is added`, (event) => hasRoute(event, false));
    addNeighbour(socket, { link, address, lladdr: '02:00:00:00:00:09' });
    await here.next(`neighbour ${address} is added`, (event) => hasNeighbour(event, false));
    removeNeighbour(socket, link, address);
    await here.next(`neighbour ${address} is removed`, (event) => hasNeighbour(event, true));
    removeRoute(socket, { destination });
    await here.next(`the route to ${destination} is removed`, (event) => hasRoute(event, true));
    removeAddress(socket, link, prefix);
    await here.next(`${prefix} is removed`, (event) => hasAddress(event, true));
  }
});

test('watchNetwork reports only the given groups', async () => {
  using here = watched('addresses');
  const { index } = createVeth(here.socket, { name: 'a', up: true }, { name: 'b' }).link;
  addAddress(here.socket, index, '10.1.0.1/24');
  await here.next('an address is added', ({ kind }) => kind === 'address');
  assert.deepEqual(here.events, []);
});

test('watchNetwork reports that events were lost, and the events after that', async () => {
  using here = watchedWith(65_536, 'addresses');
  const { socket } = here;
  const { index } = createVeth(socket, { name: 'a', up: true }, { name: 'b' }).link;
  // The event loop does not run meanwhile, so the receive buffer overruns.
  for (let i = 0; i < 2000; i++) {
    addAddress(socket, index, '10.1.0.1/32');
    removeAddress(socket, index, '10.1.0.1/32');
  }
  const lost = await here.next('events were lost', ({ kind }) => kind === 'lost');
  assert.ok(lost.kind === 'lost' && isNetlinkError(lost.cause, 'ENOBUFS'));
  // From now on no event is lost, also when it comes right after the report.
  addAddress(socket, index, '10.1.0.2/32');
  await here.next(
    'an address is added',
    (event) => event.kind === 'address' && event.address.address === '10.1.0.2',
  );
});

test('watchNetwork calls nothing after it is disposed of, and leaves no descriptor open', async () => {
  using here = sandbox();
  let events = 0;
  const { index } = createVeth(here.socket, { name: 'a', up: true }, { name: 'b' }).link;
  withoutFdLeak(() => {
    const watch = here.namespace.enter(() => watchNetwork(platform, ['addresses'], () => events++));
    addAddress(here.socket, index, '10.1.0.1/24');
    watch[Symbol.dispose]();
  });
  await sleep(20);
  assert.equal(events, 0);
});

test('watchNetwork can be disposed of by its callback', async () => {
  using here = sandbox();
  const { index } = createVeth(here.socket, { name: 'a', up: true }, { name: 'b' }).link;
  const called = await new Promise<number>((resolve) => {
    let events = 0;
    const watch = here.namespace.enter(() =>
      watchNetwork(platform, ['addresses'], () => {
        events++;
        watch[Symbol.dispose]();
        setTimeout(() => resolve(events), 20);
      }),
    );
    addAddress(here.socket, index, '10.1.0.1/24');
    addAddress(here.socket, index, '10.1.0.2/24');
  });
  assert.equal(called, 1);
});
