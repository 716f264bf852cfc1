import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { checked, encodeUtf8, syscallNumbers } from '@heddle/sys';
import { IPPROTO_TCP } from '@heddle/sys/net';
import { network, PodWorld } from '../../testing/pod-world.ts';
import { row } from '../../testing/rows.ts';
import type { TestSocket } from '../../testing/sockets/sockets.ts';

const TCP_CONGESTION = 13;
const available = readFileSync('/proc/sys/net/ipv4/tcp_available_congestion_control', 'utf8');
const skip = !/\bbbr\b/.test(available) && 'the kernel has no BBR';

describe('the congestion control of a connection', { skip }, () => {
  let world: PodWorld;
  before(() => {
    world = new PodWorld('cubic', 2, { network: { ...network, localCongestionControl: 'cubic' } });
    for (const pod of world.node.pods) pod.setSysctl('net/ipv4/tcp_congestion_control', 'bbr');
    world.listener(world.pod(1), 4, 8080);
    world.listener(world.pod(1), 6, 8080);
    world.listener(world.node, 4, 8081);
  });
  after(() => world?.[Symbol.dispose]());

  const option = (
    socket: TestSocket,
    call: 'getsockopt' | 'setsockopt',
    ...values: Uint8Array[]
  ) => {
    const nr = syscallNumbers(world.platform)[call];
    const length = call === 'setsockopt' ? values[0]!.length : values[1]!;
    const args = [socket.fd, IPPROTO_TCP, TCP_CONGESTION, values[0]!, length] as const;
    checked(call, world.platform.syscall(nr, ...args));
  };
  const choose = (socket: TestSocket, name: string) =>
    option(socket, 'setsockopt', encodeUtf8(name));
  const used = (socket: TestSocket) => {
    const name = new Uint8Array(16);
    option(socket, 'getsockopt', name, Uint8Array.of(16, 0, 0, 0));
    return String.fromCharCode(...name).replace(/\0.*/s, '');
  };

  /** Returns the congestion control of a socket after it has connected; `chosen` by the application. */
  const afterConnect = (family: 4 | 6, address: string, port: number, chosen?: string) => {
    const socket = world.socket(world.pod(0), family, 'tcp');
    if (chosen !== undefined) choose(socket, chosen);
    assert.equal(socket.connect(address, port), 'ok');
    return used(socket);
  };

  test('to a pod of the node is cubic where the default is BBR, in both families', () => {
    const { v4, v6 } = world.pod(1).addresses;
    assert.equal(afterConnect(4, v4, 8080), 'cubic');
    assert.equal(afterConnect(6, v6, 8080), 'cubic');
    assert.equal(afterConnect(6, `::ffff:${v4}`, 8080), 'cubic');
  });

  test('to a service is that of the chosen backend', () => {
    const front = { address: '10.96.0.40', port: 80 };
    world.apply(row([front], [{ address: world.pod(1).addresses.v4, port: 8080 }]));
    assert.equal(afterConnect(4, front.address, 80), 'cubic');
  });

  test('to another address is the default', () => {
    assert.equal(afterConnect(4, world.node.addresses.v4, 8081), 'bbr');
  });

  test('is the one that the application has chosen', () => {
    const { v4 } = world.pod(1).addresses;
    for (const chosen of ['bbr', 'reno']) assert.equal(afterConnect(4, v4, 8080, chosen), chosen);
  });

  test('is the default of the pod if that is not BBR', () => {
    world.pod(0).setSysctl('net/ipv4/tcp_congestion_control', 'reno');
    assert.equal(afterConnect(4, world.pod(1).addresses.v4, 8080), 'reno');
    world.pod(0).setSysctl('net/ipv4/tcp_congestion_control', 'bbr');
  });

  test('stays as it is when the setting is off', () => {
    world.restart({ network });
    world.servePods();
    assert.equal(afterConnect(4, world.pod(1).addresses.v4, 8080), 'bbr');
  });
});
