import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Frontend } from '@heddle/services';
import { row } from '../rows.ts';
import type { SocketWorld } from '../socket-world.ts';
import { at } from './sockets.ts';

/** Defines the tests; `open` opens a node in the kernel or in the userspace machine. */
export function guardTests(makeWorld: (name: string, pods: number) => SocketWorld): void {
  describe('bind on a node with NodePorts and hostPorts', () => {
    let world: SocketWorld;
    let v4: string;
    let v6: string;
    before(() => {
      world = makeWorld('bind-guard', 1);
      ({ v4, v6 } = world.node.addresses);
    });
    after(() => world?.[Symbol.dispose]());

    const outcome = (
      protocol: 'TCP' | 'UDP',
      address: string,
      port: number,
      {
        family = address.includes(':') ? 6 : 4,
        only = false,
      }: { family?: 4 | 6; only?: boolean } = {},
    ) => {
      const kind = protocol === 'TCP' ? 'tcp' : 'udp';
      using socket = world.socket(world.node, family, kind);
      if (only) socket.onlyIpv6();
      return socket.bind(address, port);
    };
    const serve = (
      protocol: 'TCP' | 'UDP',
      port: number,
      addresses: readonly string[],
      kind: Frontend['kind'] = 'NodePort',
    ) =>
      world.apply(
        row(
          addresses.map((address) => ({ address, port, kind })),
          [],
          { protocol },
        ),
      );

    for (const protocol of ['TCP', 'UDP'] as const) {
      test(`${protocol}: an IPv4 NodePort refuses bind at its own addresses, and nowhere else`, () => {
        serve(protocol, 30080, [v4, '0.0.0.0']);
        for (const address of ['0.0.0.0', '127.0.0.1', '127.1.2.3', v4, `::ffff:${v4}`, '::']) {
          assert.equal(outcome(protocol, address, 30080), 'EADDRINUSE', address);
        }
        assert.equal(outcome(protocol, '::ffff:0.0.0.0', 30080), 'EADDRINUSE');
        for (const address of ['::1', v6]) {
          assert.equal(outcome(protocol, address, 30080), 'ok', address);
        }
        assert.equal(outcome(protocol, '::', 30080, { only: true }), 'ok', ':: with IPV6_V6ONLY');
      });

      test(`${protocol}: an IPv6 NodePort refuses bind at its own addresses, and nowhere else`, () => {
        serve(protocol, 30081, [v6, '::']);
        for (const address of ['::', '::1', v6]) {
          assert.equal(outcome(protocol, address, 30081), 'EADDRINUSE', address);
        }
        assert.equal(outcome(protocol, '::', 30081, { only: true }), 'EADDRINUSE');
        for (const address of ['0.0.0.0', '127.0.0.1', v4, `::ffff:${v4}`]) {
          assert.equal(outcome(protocol, address, 30081), 'ok', address);
        }
      });

      test(`${protocol}: bind succeeds at an address of the node without the NodePort`, () => {
        serve(protocol, 30082, ['0.0.0.0']);
        serve(protocol, 30083, ['::']);
        assert.equal(outcome(protocol, v4, 30082), 'ok');
        assert.equal(outcome(protocol, '127.0.0.1', 30082), 'EADDRINUSE');
        assert.equal(outcome(protocol, v6, 30083), 'ok');
        assert.equal(outcome(protocol, '::1', 30083), 'EADDRINUSE');
      });
    }

    test('bind succeeds at an externalIP or load balancer address of the node itself', () => {
      serve('TCP', 30084, [v4, v6], 'ExternalIP');
      serve('TCP', 30085, [v4, v6], 'LoadBalancer');
      for (const port of [30084, 30085]) {
        for (const address of [v4, v6, '0.0.0.0', '::']) {
          assert.equal(outcome('TCP', address, port), 'ok', `${address} ${port}`);
        }
      }
    });

    test('a hostPort with a hostIP refuses bind at that address only', () => {
      serve('TCP', 30086, [v4], 'HostPort');
      serve('TCP', 30087, ['127.0.0.1'], 'HostPort');
      assert.equal(outcome('TCP', v4, 30086), 'EADDRINUSE');
      assert.equal(outcome('TCP', v6, 30086), 'ok');
      assert.equal(outcome('TCP', '127.0.0.1', 30087), 'EADDRINUSE');
      assert.equal(outcome('TCP', '127.0.0.2', 30087), 'ok');
    });
  });

  describe('a NodePort on loopback for sockets with a source address of loopback', () => {
    let world: SocketWorld;
    before(() => {
      world = makeWorld('loop-source', 1);
    });
    after(() => world?.[Symbol.dispose]());

    for (const { family, loopback, any, end } of [
      { family: 4, loopback: '127.0.0.1', any: '0.0.0.0', end: 'v4' },
      { family: 6, loopback: '::1', any: '::', end: 'v6' },
    ] as const) {
      const kind = 'NodePort' as const;
      const served = (protocol: 'TCP' | 'UDP', port: number, address: string) =>
        world.apply(
          row([{ address: any, port, kind }], [{ address, port: 8000 + (port % 1000) }], {
            protocol,
          }),
        );
      const invalid = () =>
        world.datapath.drops.refusals().find(({ reason }) => reason.includes('source address'))!
          .count;

      test(`IPv${family}: TCP and UDP sockets without a port yet reach a pod`, () => {
        const pod = world.pod(0);
        served('TCP', 31080, pod.addresses[end]);
        served('UDP', 31081, pod.addresses[end]);
        using listener = world.listener(pod, family, 8080);
        using receiver = world.receiver(pod, family, 8081);
        for (const bound of [false, true]) {
          using tcp = world.socket(world.node, family, 'tcp');
          using udp = world.socket(world.node, family, 'udp');
          for (const socket of bound ? [tcp, udp] : []) {
            socket.bindWithoutPort();
            assert.equal(socket.bind(loopback, 0), 'ok');
          }
          assert.equal(tcp.connect(loopback, 31080), 'ok', `bound: ${bound}`);
          using accepted = listener.accept();
          assert.equal(accepted.peerName(), tcp.ownName());
          assert.equal(udp.connect(loopback, 31081), 'ok', `bound: ${bound}`);
          assert.equal(udp.send('hello'), 'ok');
          assert.equal(receiver.receive().from, udp.ownName());
        }
      });

      test(`IPv${family}: a socket that is bound to a port of loopback gets EADDRNOTAVAIL`, () => {
        const pod = world.pod(0);
        served('TCP', 31082, pod.addresses[end]);
        served('UDP', 31083, pod.addresses[end]);
        const earlier = invalid();
        using tcp = world.socket(world.node, family, 'tcp');
        assert.equal(tcp.bind(loopback, 0), 'ok');
        assert.equal(tcp.connect(loopback, 31082), 'EADDRNOTAVAIL');
        using udp = world.socket(world.node, family, 'udp');
        assert.equal(udp.bind(loopback, 0), 'ok');
        assert.equal(udp.connect(loopback, 31083), 'EADDRNOTAVAIL');
        assert.equal(udp.send('hello', { address: loopback, port: 31083 }), 'EADDRNOTAVAIL');
        assert.equal(invalid() - earlier, 3);
      });

      test(`IPv${family}: a socket that is bound to loopback reaches a backend of the node itself`, () => {
        const { addresses } = world.node;
        world.datapath.setNode([], [addresses.v4, addresses.v6]);
        served('TCP', 31084, addresses[end]);
        using listener = world.listener(world.node, family, 8084);
        using tcp = world.socket(world.node, family, 'tcp');
        assert.equal(tcp.bind(loopback, 0), 'ok');
        assert.equal(tcp.connect(loopback, 31084), 'ok');
        using accepted = listener.accept();
        assert.equal(accepted.peerName(), tcp.ownName());
        assert.equal(tcp.peerName(), at(loopback, 31084));
      });
    }

    test('a loopback source address does not change connections to other addresses', () => {
      using socket = world.socket(world.node, 4, 'tcp');
      assert.equal(socket.bind('127.0.0.1', 0), 'ok');
      assert.equal(socket.connect('127.0.0.1', 31999), 'ECONNREFUSED', 'no socket listens there');
      using receiver = world.receiver(world.node, 4, 31998);
      using udp = world.socket(world.node, 4, 'udp');
      assert.equal(udp.bind('127.0.0.1', 0), 'ok');
      assert.equal(udp.send('hello', { address: '127.0.0.1', port: 31998 }), 'ok');
      assert.equal(receiver.receive().text, 'hello');
    });
  });
}
