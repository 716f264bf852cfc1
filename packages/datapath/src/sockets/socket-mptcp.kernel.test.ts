import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { row } from '../../testing/rows.ts';
import { at, type TestSocket } from '../../testing/sockets/sockets.ts';
import { World } from '../../testing/world.ts';

const skip = !existsSync('/proc/sys/net/mptcp/enabled') && 'the kernel is built without MPTCP';

describe('MPTCP through a service address', { skip }, () => {
  let world: World;
  before(() => {
    world = new World('mptcp', 3);
  });
  after(() => world?.[Symbol.dispose]());

  /** Returns a socket that listens in a pod, for MPTCP or for plain TCP, to which MPTCP falls back. */
  const listener = (kind: 'tcp' | 'mptcp', family: 4 | 6, port: number): TestSocket => {
    const socket = world.socket(world.pod(1), family, kind);
    socket.reuseAddress();
    assert.equal(socket.bind(family === 4 ? '0.0.0.0' : '::', port), 'ok');
    socket.listen();
    return socket;
  };
  const openConnections = (key: string) =>
    world.datapath.services.backendCounters(key)!.map(({ active }) => active);

  for (const [family, prefix, vip, end] of [
    [4, '', '10.96.0.30', 'v4'],
    [6, '::ffff:', '10.96.0.31', 'v4'],
    [6, '', 'fd00:10:96::30', 'v6'],
  ] as const) {
    for (const kind of ['mptcp', 'tcp'] as const) {
      test(`getpeername shows the service, and close counts the connection (${prefix}${vip}, to ${kind})`, () => {
        using listening = listener(kind, prefix ? 6 : family, 8090);
        const front = { address: vip, port: 80 };
        const backend = { address: world.pod(1).addresses[end], port: 8090 };
        const service = row([front], [backend], { algorithm: 'least-connections' });
        world.apply(service);
        using direct = world.socket(world.pod(0), family, 'mptcp');
        assert.equal(direct.connect(prefix + backend.address, backend.port), 'ok');
        assert.equal(direct.peerName(), at(prefix + backend.address, backend.port));
        {
          using socket = world.socket(world.pod(0), family, 'mptcp');
          assert.equal(socket.connect(prefix + vip, 80), 'ok');
          assert.equal(socket.peerName(), at(prefix + vip, 80));
          assert.deepEqual(openConnections(service.key), [1]);
          using first = listening.accept();
          using accepted = listening.accept();
          assert.equal(first.peerName(), direct.ownName());
          assert.equal(socket.send('hello'), 'ok');
          assert.equal(accepted.receive().text, 'hello');
        }
        assert.deepEqual(openConnections(service.key), [0]);
      });
    }
  }

  test('MSG_FASTOPEN works with MPTCP and TCP', () => {
    using listening = listener('mptcp', 4, 8091);
    const front = { address: '10.96.0.32', port: 80 };
    const service = row([front], [{ address: world.pod(1).addresses.v4, port: 8091 }], {
      algorithm: 'least-connections',
    });
    world.apply(service);
    for (const kind of ['mptcp', 'tcp'] as const) {
      {
        using socket = world.socket(world.pod(0), 4, kind);
        assert.equal(socket.fastOpen('fast', front), 'ok');
        using accepted = listening.accept();
        assert.equal(accepted.receive().text, 'fast');
        assert.equal(socket.peerName(), at(front.address, front.port));
        assert.deepEqual(openConnections(service.key), [1]);
      }
      assert.deepEqual(openConnections(service.key), [0]);
    }
  });

  test('a service without backends refuses the connection', () => {
    world.apply(row([{ address: '10.96.0.33', port: 80 }], []));
    using socket = world.socket(world.pod(0), 4, 'mptcp');
    assert.equal(socket.connect('10.96.0.33', 80), 'ECONNREFUSED');
    assert.equal(socket.connect('10.96.0.33', 81), 'ECONNREFUSED');
  });
});
