import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { row } from '../rows.ts';
import type { SocketWorld } from '../socket-world.ts';
import { at } from './sockets.ts';

/** Defines the tests; `open` opens a node in the kernel or in the userspace machine. */
export function tcpTests(makeWorld: (name: string, pods: number) => SocketWorld): void {
  describe('TCP through a service address', () => {
    let world: SocketWorld;
    before(() => {
      world = makeWorld('tcp', 3);
    });
    after(() => world?.[Symbol.dispose]());

    test('an IPv4 connection reaches the backend, and getpeername returns the service', () => {
      const [client, one] = [world.pod(0), world.pod(1)];
      using listener = world.listener(one, 4, 8080);
      world.apply(
        row([{ address: '10.96.0.10', port: 80 }], [{ address: one.addresses.v4, port: 8080 }]),
      );
      using socket = world.socket(client, 4, 'tcp');
      assert.equal(socket.connect('10.96.0.10', 80), 'ok');
      assert.equal(socket.peerName(), at('10.96.0.10', 80));
      using accepted = listener.accept();
      assert.equal(accepted.ownName(), at(one.addresses.v4, 8080));
      assert.equal(accepted.peerName(), socket.ownName(), 'the client keeps its address');
      assert.equal(socket.send('hello'), 'ok');
      assert.equal(accepted.receive().text, 'hello');
    });

    test('an IPv6 connection reaches the backend, and getpeername returns the service', () => {
      const [client, one] = [world.pod(0), world.pod(1)];
      using listener = world.listener(one, 6, 8080);
      world.apply(
        row([{ address: 'fd00:10:96::10', port: 80 }], [{ address: one.addresses.v6, port: 8080 }]),
      );
      using socket = world.socket(client, 6, 'tcp');
      assert.equal(socket.connect('fd00:10:96::10', 80), 'ok');
      assert.equal(socket.peerName(), at('fd00:10:96::10', 80));
      using accepted = listener.accept();
      assert.equal(accepted.ownName(), at(one.addresses.v6, 8080));
    });

    test('an IPv6 socket connected to an IPv4-mapped address reaches the backend', () => {
      const [client, one] = [world.pod(0), world.pod(1)];
      using _listener = world.listener(one, 4, 8081);
      world.apply(
        row([{ address: '10.96.0.11', port: 80 }], [{ address: one.addresses.v4, port: 8081 }]),
      );
      using socket = world.socket(client, 6, 'tcp');
      assert.equal(socket.connect('::ffff:10.96.0.11', 80), 'ok');
      assert.equal(socket.peerName(), at('::ffff:10.96.0.11', 80));
    });

    test('a connection without endpoints, or to a port that the service does not have, is refused at once', () => {
      const client = world.pod(0);
      world.apply(row([{ address: '10.96.0.12', port: 80 }], []));
      const refused = () =>
        Object.fromEntries(world.datapath.drops.refusals().map((r) => [r.reason, r.count]));
      const earlier = refused();
      using none = world.socket(client, 4, 'tcp');
      assert.equal(none.connect('10.96.0.12', 80), 'ECONNREFUSED');
      using unknown = world.socket(client, 4, 'tcp');
      assert.equal(unknown.connect('10.96.0.12', 81), 'ECONNREFUSED');
      const later = refused();
      assert.equal(later['no endpoints']! - earlier['no endpoints']!, 1);
      const port = 'the service does not have this port';
      assert.equal(later[port]! - earlier[port]!, 1);
    });

    test('getpeername returns the new peer of a socket that is connected elsewhere later', () => {
      const [client, one] = [world.pod(0), world.pod(1)];
      using _udp = world.receiver(one, 4, 5300);
      world.apply(
        row([{ address: '10.96.0.13', port: 53 }], [{ address: one.addresses.v4, port: 5300 }], {
          protocol: 'UDP',
        }),
      );
      using socket = world.socket(client, 4, 'udp');
      assert.equal(socket.connect('10.96.0.13', 53), 'ok');
      assert.equal(socket.peerName(), at('10.96.0.13', 53));
      assert.equal(socket.connect(one.addresses.v4, 5300), 'ok');
      assert.equal(socket.peerName(), at(one.addresses.v4, 5300));
    });

    for (const [family, prefix, vip, end] of [
      [4, '', '10.96.0.15', 'v4'],
      [6, '::ffff:', '10.96.0.16', 'v4'],
      [6, '', 'fd00:10:96::15', 'v6'],
    ] as const) {
      test(`a closed connection does not count as open while its socket is open (${prefix}${vip})`, () => {
        const [client, one] = [world.pod(0), world.pod(1)];
        using _listener = world.listener(one, end === 'v4' ? 4 : 6, 8083);
        const algorithm = 'least-connections' as const;
        const address = one.addresses[end];
        const served = row([{ address: vip, port: 80 }], [{ address, port: 8083 }], { algorithm });
        const silent = row([{ address: vip, port: 81 }], [{ address, port: 8084 }], { algorithm });
        world.apply(served, silent);
        const open = ({ key }: { key: string }) =>
          world.datapath.services.backendCounters(key)![0]!.active;
        using disconnected = world.socket(client, family, 'tcp');
        assert.equal(disconnected.connect(prefix + vip, 80), 'ok');
        using kept = world.socket(client, family, 'tcp');
        assert.equal(kept.connect(prefix + vip, 80), 'ok');
        assert.equal(open(served), 2);
        assert.equal(disconnected.disconnect(), 'ok');
        assert.equal(open(served), 1);
        using failed = world.socket(client, family, 'tcp');
        assert.equal(failed.connect(prefix + vip, 81), 'ECONNREFUSED');
        assert.equal(open(silent), 0);
        assert.equal(disconnected.connect(prefix + vip, 80), 'ok', 'the socket can connect again');
        assert.equal(open(served), 2);
        // The next agent finds what is attached, and goes on counting.
        world.restart();
        world.apply(served, silent);
        assert.equal(open(served), 2);
        assert.equal(disconnected.disconnect(), 'ok');
        assert.equal(open(served), 1);
        disconnected[Symbol.dispose]();
        assert.equal(open(served), 1, 'closing the socket counts nothing again');
      });
    }

    test("pods reach a NodePort at the node's address, and only the node at loopback", () => {
      const [client, one] = [world.pod(0), world.pod(1)];
      using _listener = world.listener(one, 4, 8082);
      const kind = 'NodePort' as const;
      const node = world.node.addresses.v4;
      world.apply(
        row(
          [
            { address: node, port: 30080, kind },
            { address: '0.0.0.0', port: 30080, kind },
          ],
          [{ address: one.addresses.v4, port: 8082 }],
        ),
      );
      const outcome = (
        place: typeof client | typeof world.node,
        address: string,
        family: 4 | 6 = 4,
      ) => {
        using socket = world.socket(place, family, 'tcp');
        return socket.connect(address, 30080);
      };
      assert.equal(outcome(client, node), 'ok');
      assert.equal(outcome(world.node, node), 'ok');
      assert.equal(outcome(world.node, '127.0.0.1'), 'ok');
      assert.equal(outcome(world.node, '127.1.2.3'), 'ok');
      assert.equal(outcome(world.node, '::ffff:127.0.0.1', 6), 'ok');
      assert.equal(outcome(world.node, '::1', 6), 'ECONNREFUSED', 'the service is of IPv4');
      assert.equal(outcome(client, '127.0.0.1'), 'ECONNREFUSED', "a pod's loopback is its own");
      using other = world.socket(client, 4, 'tcp');
      assert.equal(
        other.connect(node, 30081),
        'ECONNREFUSED',
        'the node itself answers other ports',
      );
    });

    test('bind to a NodePort is refused on the node, for both families of socket, and not in pods', () => {
      const kind = 'NodePort' as const;
      world.apply(row([{ address: '0.0.0.0', port: 30090, kind }], []));
      const bind = (
        place: Parameters<typeof world.socket>[0],
        family: 4 | 6,
        address: string,
        port = 30090,
      ) => {
        using socket = world.socket(place, family, 'tcp');
        return socket.bind(address, port);
      };
      assert.equal(bind(world.node, 4, '0.0.0.0'), 'EADDRINUSE');
      assert.equal(bind(world.node, 4, '127.0.0.1'), 'EADDRINUSE');
      assert.equal(bind(world.node, 6, '::'), 'EADDRINUSE');
      assert.equal(bind(world.node, 4, '0.0.0.0', 30091), 'ok');
      assert.equal(bind(world.pod(0), 4, '0.0.0.0'), 'ok');
      using udp = world.socket(world.node, 4, 'udp');
      assert.equal(udp.bind('0.0.0.0', 30090), 'ok', 'the NodePort is for TCP');
    });
  });
}
