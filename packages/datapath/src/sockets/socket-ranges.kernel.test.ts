import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { addAddress, changeLink, findLink, type NetlinkSocket } from '@heddle/netlink';
import { row } from '../../testing/rows.ts';
import { rangeTests } from '../../testing/sockets/socket-range-tests.ts';
import { World } from '../../testing/world.ts';

rangeTests((name, pods) => new World(name, pods));

describe('loadBalancerSourceRanges and the addresses of a pod', () => {
  let world: World;
  before(() => {
    world = new World('range-pods', 2);
  });
  after(() => world?.[Symbol.dispose]());

  for (const [end, family, balancer, second, others] of [
    ['v4', 4, '198.51.100.1', '192.0.2.9', ['192.0.2.9/32']],
    ['v6', 6, 'fd00:198::1', 'fd00:192::9', ['fd00:192::9/128']],
  ] as const) {
    const bits = family === 4 ? 32 : 128;
    const serve = (range: string) =>
      world.apply(
        row(
          [{ kind: 'LoadBalancer', address: balancer, port: 80 }],
          [{ address: world.pod(1).addresses[end], port: 8080 }],
          { sourceRanges: [range] },
        ),
      );
    const connect = (bound?: string) => {
      using socket = world.socket(world.pod(0), family, 'tcp');
      if (bound !== undefined) assert.equal(socket.bind(bound, 0), 'ok');
      return socket.connect(balancer, 80);
    };
    const change = (work: (socket: NetlinkSocket, link: number) => void) =>
      world.pod(0).configure((socket) => work(socket, findLink(socket, 'eth0')!.index));

    test(`IP${end}: a pod with several addresses is matched by the first, a bound socket by its own`, () => {
      using _listener = world.listener(world.pod(1), family, 8080);
      change((socket, link) => {
        for (const prefix of others) addAddress(socket, link, prefix);
      });
      const expected = world.pod(0).addresses[end];
      serve(`${expected}/${bits}`);
      assert.equal(connect(), 'ok');
      assert.equal(connect(second), 'EPERM');
      serve(`${second}/${bits}`);
      assert.equal(connect(), 'EPERM');
      // The range has the address; nothing leads back to it.
      assert.notEqual(connect(second), 'EPERM');
    });
  }

  test('a pod without an interface that is up matches no range', () => {
    world.apply(
      row(
        [{ kind: 'LoadBalancer', address: '198.51.100.1', port: 80 }],
        [{ address: world.pod(1).addresses.v4, port: 8080 }],
        { sourceRanges: ['0.0.0.0/0'] },
      ),
    );
    const lone = world.pod(0);
    lone.configure((socket) => changeLink(socket, findLink(socket, 'eth0')!.index, { up: false }));
    using socket = world.socket(lone, 4, 'tcp');
    assert.equal(socket.connect('198.51.100.1', 80), 'EPERM');
  });
});
