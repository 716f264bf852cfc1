import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { eventually } from '@heddle/sys/testing/eventually';
import { row } from '../../testing/rows.ts';
import { codeOf } from '../../testing/sockets/sockets.ts';
import { VmWorld } from '../../testing/vm-world.ts';

describe('sockets of removed backends, in the userspace machine', () => {
  let world: VmWorld;
  beforeEach(() => {
    world = new VmWorld('stale', 4, { options: { terminateTcp: true } });
  });
  afterEach(() => world?.[Symbol.dispose]());

  const destroyed = async (count: number) => {
    const isDone = () => world.datapath.status().socketsDestroyed >= count;
    await eventually(`${count} sockets are destroyed`, isDone, { ms: 20_000 });
    assert.equal(world.datapath.status().socketsDestroyed, count);
  };

  test('the simulated kernel has all features', () => {
    assert.deepEqual(world.datapath.status().missing, []);
  });

  test('UDP sockets connected to an address without a service are destroyed once a service has it', async () => {
    const front = { address: '10.96.1.30', port: 53 };
    const udp = { protocol: 'UDP' as const };
    world.apply(row([{ ...front, port: 80 }], []));
    using socket = world.socket(world.pod(0), 4, 'udp');
    assert.equal(socket.connect(front.address, front.port), 'ok');
    using unknown = world.socket(world.pod(0), 4, 'udp');
    assert.equal(unknown.connect(front.address, 54), 'ok');
    world.apply(row([front], [{ address: world.pod(2).addresses.v4, port: 5360 }], udp));
    await destroyed(1);
    assert.equal(
      codeOf(() => socket.receive()),
      'ECONNABORTED',
    );
    assert.equal(
      codeOf(() => unknown.receive()),
      'EAGAIN',
    );
  });

  test('UDP and TCP sockets of a removed backend are destroyed in every pod; others stay', async () => {
    const [one, two] = [world.pod(2), world.pod(3)];
    const udp = { address: '10.96.1.20', port: 53 };
    const tcp = { address: '10.96.1.20', port: 80 };
    const rows = (address: string) => [
      row([udp], [{ address, port: 5359 }], { protocol: 'UDP' }),
      row([tcp], [{ address, port: 8080 }]),
    ];
    using _first = world.listener(one, 4, 8080);
    using _second = world.listener(two, 4, 8080);
    world.apply(...rows(one.addresses.v4));
    const stale = [0, 1].flatMap((pod) => {
      const sockets = [
        world.socket(world.pod(pod), 4, 'udp'),
        world.socket(world.pod(pod), 4, 'tcp'),
      ];
      assert.equal(sockets[0]!.connect(udp.address, udp.port), 'ok');
      assert.equal(sockets[1]!.connect(tcp.address, tcp.port), 'ok');
      return sockets;
    });
    using direct = world.socket(world.pod(0), 4, 'udp');
    assert.equal(direct.connect(one.addresses.v4, 5359), 'ok');

    world.apply(...rows(two.addresses.v4));
    await destroyed(4);
    for (const socket of stale) {
      assert.equal(
        codeOf(() => socket.receive()),
        'ECONNABORTED',
      );
    }
    assert.equal(
      codeOf(() => direct.receive()),
      'EAGAIN',
    );
    assert.equal(stale[0]!.connect(udp.address, udp.port), 'ok', 'the application connects again');
  });
});
