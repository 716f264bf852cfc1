import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { row } from '../rows.ts';
import type { SocketWorld } from '../socket-world.ts';
import { at, codeOf } from './sockets.ts';

const udp = { protocol: 'UDP' as const };

/** Defines the tests; `open` opens a node in the kernel or in the userspace machine. */
export function udpTests(makeWorld: (name: string, pods: number) => SocketWorld): void {
  describe('UDP through a service address', () => {
    let world: SocketWorld;
    before(() => {
      world = makeWorld('udp', 4);
    });
    after(() => world?.[Symbol.dispose]());

    /** Has the receiver answer one datagram. */
    const answer = (receiver: ReturnType<typeof world.receiver>, text = 'reply') => {
      const { from } = receiver.receive();
      const split = from.lastIndexOf(':');
      assert.equal(
        receiver.send(text, { address: from.slice(0, split), port: Number(from.slice(split + 1)) }),
        'ok',
      );
    };

    test("a connected UDP socket gets replies from the service's address, by recvfrom and recvmmsg", () => {
      const [client, one] = [world.pod(0), world.pod(1)];
      using receiver = world.receiver(one, 4, 5353);
      world.apply(
        row([{ address: '10.96.1.1', port: 53 }], [{ address: one.addresses.v4, port: 5353 }], udp),
      );
      using socket = world.socket(client, 4, 'udp');
      assert.equal(socket.connect('10.96.1.1', 53), 'ok');
      assert.equal(socket.peerName(), at('10.96.1.1', 53));
      assert.equal(socket.send('a'), 'ok');
      assert.equal(socket.send('b'), 'ok');
      answer(receiver);
      answer(receiver);
      assert.deepEqual(socket.receiveMany(2), [at('10.96.1.1', 53), at('10.96.1.1', 53)]);
    });

    for (const [family, vip, shown] of [
      [4, '10.96.1.2', '10.96.1.2'],
      [6, 'fd00:10:96::1:2', 'fd00:10:96::1:2'],
      [6, '::ffff:10.96.1.2', '::ffff:10.96.1.2'],
    ] as const) {
      test(`an unconnected UDP socket (${vip}) gets replies from the service's address`, () => {
        const [client, one] = [world.pod(0), world.pod(1)];
        const isV4 = shown.includes('.');
        using receiver = world.receiver(one, isV4 ? 4 : 6, 5354);
        const address = isV4 ? one.addresses.v4 : one.addresses.v6;
        world.apply(
          row([{ address: vip.replace('::ffff:', ''), port: 53 }], [{ address, port: 5354 }], udp),
        );
        using socket = world.socket(client, family, 'udp');
        assert.equal(socket.send('a', { address: vip, port: 53 }), 'ok');
        answer(receiver);
        assert.deepEqual(socket.receive(), { text: 'reply', from: at(shown, 53) });
      });
    }

    test('an unconnected UDP socket keeps its backend, and gets another when that is removed', () => {
      const [client, one, two] = [world.pod(0), world.pod(1), world.pod(2)];
      using first = world.receiver(one, 4, 5355);
      using second = world.receiver(two, 4, 5355);
      const backends = [one, two].map((pod) => ({ address: pod.addresses.v4, port: 5355 }));
      world.apply(row([{ address: '10.96.1.3', port: 53 }], backends, udp));
      using socket = world.socket(client, 4, 'udp');
      const to = { address: '10.96.1.3', port: 53 };
      for (let i = 0; i < 20; i++) assert.equal(socket.send('x', to), 'ok');
      const counts = world.datapath.services.backendCounters(row([to], [], udp).key);
      assert.deepEqual(
        counts.map((c) => c.connections).sort(),
        [0, 1],
        'twenty datagrams are one flow',
      );
      const chosen = counts.findIndex((c) => c.connections === 1);
      const [kept, other] = chosen === 0 ? [first, second] : [second, first];
      for (let i = 0; i < 20; i++) kept.receive();
      assert.equal(
        codeOf(() => other.receive()),
        'EAGAIN',
      );

      const draining = backends.map((b, i) => ({
        ...b,
        state: i === chosen ? ('draining' as const) : ('active' as const),
      }));
      world.apply(row([to], draining, udp));
      assert.equal(socket.send('drain', to), 'ok');
      assert.equal(kept.receive().text, 'drain', 'a draining backend keeps what it has');

      world.apply(row([to], [backends[1 - chosen]!], udp));
      assert.equal(socket.send('moved', to), 'ok');
      assert.equal(other.receive().text, 'moved');
    });

    test('replies of several services and a backend to one UDP socket have the right source addresses', () => {
      const [client, one, two] = [world.pod(0), world.pod(1), world.pod(2)];
      using r1 = world.receiver(one, 4, 5356);
      using r2 = world.receiver(two, 4, 5356);
      const b1 = { address: one.addresses.v4, port: 5356 };
      const b2 = { address: two.addresses.v4, port: 5356 };
      world.apply(
        row([{ address: '10.96.1.4', port: 53 }], [b1], udp),
        row([{ address: '10.96.1.5', port: 53 }], [b2], udp),
        row([{ address: '10.96.1.6', port: 53 }], [b1], udp),
      );
      using socket = world.socket(client, 4, 'udp');
      // b1 is asked through two services and directly, all before the first answer.
      assert.equal(socket.send('1', { address: '10.96.1.4', port: 53 }), 'ok');
      assert.equal(socket.send('2', { address: '10.96.1.5', port: 53 }), 'ok');
      assert.equal(socket.send('3', b1), 'ok');
      assert.equal(socket.send('4', { address: '10.96.1.6', port: 53 }), 'ok');
      for (let i = 0; i < 3; i++) answer(r1);
      answer(r2);
      const sources = Array.from({ length: 4 }, () => socket.receive().from);
      assert.deepEqual(sources, [
        at('10.96.1.4', 53),
        at(b1.address, 5356),
        at('10.96.1.6', 53),
        at('10.96.1.5', 53),
      ]);
      // And with answers in between.
      for (const address of ['10.96.1.6', b1.address, '10.96.1.4']) {
        const port = address === b1.address ? 5356 : 53;
        assert.equal(socket.send('again', { address, port }), 'ok');
        answer(r1);
        assert.equal(socket.receive().from, at(address, port));
      }
    });

    test('two flows of a UDP socket use different backends while there are enough', () => {
      const [client, one, two] = [world.pod(0), world.pod(1), world.pod(2)];
      using r1 = world.receiver(one, 4, 5357);
      using _r2 = world.receiver(two, 4, 5357);
      const b1 = { address: one.addresses.v4, port: 5357 };
      const b2 = { address: two.addresses.v4, port: 5357 };
      const to = { address: '10.96.1.7', port: 53 };
      world.apply(row([to], [b1, b2], udp));
      let shared = 0;
      for (let i = 0; i < 40; i++) {
        using socket = world.socket(client, 4, 'udp');
        assert.equal(socket.send('direct', b1), 'ok');
        r1.receive();
        assert.equal(socket.send('service', to), 'ok');
        if (codeOf(() => r1.receive()) === 'ok') shared++;
        else break;
      }
      // Each draw of b1 is repeated up to three times: 1 in 16 shares, 40 in a row cannot be.
      assert.ok(shared < 40);
    });

    test('the reply of an IPv6 backend that is addressed directly has its own address', () => {
      const [client, one] = [world.pod(0), world.pod(1)];
      using receiver = world.receiver(one, 6, 5359);
      const backend = { address: one.addresses.v6, port: 5359 };
      const front = { address: 'fd00:10:96::1:9', port: 53 };
      world.apply(row([front], [backend], udp));
      using socket = world.socket(client, 6, 'udp');
      for (const to of [backend, front, backend]) {
        assert.equal(socket.send('x', to), 'ok');
        answer(receiver);
        assert.equal(socket.receive().from, at(to.address, to.port));
      }
    });

    test('a UDP socket with more services than it can remember still works', () => {
      const [client, one] = [world.pod(0), world.pod(1)];
      using receiver = world.receiver(one, 4, 5360);
      const backend = { address: one.addresses.v4, port: 5360 };
      const fronts = Array.from({ length: 20 }, (_, i) => ({ address: `10.96.2.${i}`, port: 53 }));
      world.apply(...fronts.map((front) => row([front], [backend], udp)));
      using socket = world.socket(client, 4, 'udp');
      for (const { address, port } of [...fronts, ...fronts]) {
        assert.equal(socket.send('x', { address, port }), 'ok');
        answer(receiver);
        assert.equal(socket.receive().from, at(address, port));
      }
    });

    test('loopback addresses reach NodePorts on the node, and the pod itself in a pod', () => {
      const [client, one] = [world.pod(0), world.pod(1)];
      const kind = 'NodePort' as const;
      using receiver = world.receiver(one, 4, 5361);
      world.apply(
        row(
          [{ address: '0.0.0.0', port: 30_053, kind }],
          [{ address: one.addresses.v4, port: 5361 }],
          udp,
        ),
      );
      const to = { address: '127.0.0.1', port: 30_053 };
      using own = world.receiver(client, 4, 30_053);
      using inPod = world.socket(client, 4, 'udp');
      assert.equal(inPod.send('mine', to), 'ok');
      assert.equal(own.receive().text, 'mine');
      using onNode = world.socket(world.node, 4, 'udp');
      assert.equal(onNode.send('theirs', to), 'ok');
      assert.equal(receiver.receive().text, 'theirs');
    });

    test('connect to a service without endpoints is refused, and a connected socket keeps its peer', () => {
      const [client, one] = [world.pod(0), world.pod(1)];
      const front = { address: '10.96.1.13', port: 53 };
      const empty = { address: '10.96.1.14', port: 53 };
      world.apply(
        row([front], [{ address: one.addresses.v4, port: 5364 }], udp),
        row([empty], [], udp),
      );
      using fresh = world.socket(client, 4, 'udp');
      assert.equal(fresh.connect(empty.address, empty.port), 'ECONNREFUSED');
      using socket = world.socket(client, 4, 'udp');
      assert.equal(socket.connect(front.address, front.port), 'ok');
      assert.equal(socket.connect(empty.address, empty.port), 'ECONNREFUSED');
      assert.equal(socket.peerName(), at(front.address, front.port));
    });

    test('a datagram to a service without endpoints or to an unknown port is refused', () => {
      world.apply(row([{ address: '10.96.1.8', port: 53 }], [], udp));
      using socket = world.socket(world.pod(0), 4, 'udp');
      assert.equal(socket.send('x', { address: '10.96.1.8', port: 53 }), 'ECONNREFUSED');
      assert.equal(socket.send('x', { address: '10.96.1.8', port: 54 }), 'ECONNREFUSED');
    });

    for (const [family, prefix, own, vip] of [
      [4, '', 'v4', '10.96.1.10'],
      [6, '::ffff:', 'v4', '10.96.1.10'],
      [6, '', 'v6', 'fd00:10:96::1:10'],
    ] as const) {
      test(`connect to a service address shows a resolver its source address, whatever the port (${prefix}${vip})`, () => {
        const client = world.pod(0);
        const backend = { address: world.pod(1).addresses[own], port: 5361 };
        world.apply(row([{ address: vip, port: 53 }], [backend], udp));
        // glibc connects to port 0 or the service's, Go to 9, musl to 65535.
        for (const port of [0, 9, 53, 65_535]) {
          using socket = world.socket(client, family, 'udp');
          assert.equal(socket.connect(prefix + vip, port), 'ok');
          const name = socket.ownName();
          const source = `${prefix}${client.addresses[own]}`;
          assert.equal(name.slice(0, name.lastIndexOf(':')), source);
          if (port !== 0) assert.equal(socket.peerName(), at(prefix + vip, port));
        }
      });
    }

    test('a connected socket keeps its connection when it connects to a port that the service does not have', () => {
      const [client, one] = [world.pod(0), world.pod(1)];
      using receiver = world.receiver(one, 4, 5362);
      const front = { address: '10.96.1.11', port: 53 };
      world.apply(row([front], [{ address: one.addresses.v4, port: 5362 }], udp));
      using socket = world.socket(client, 4, 'udp');
      assert.equal(socket.connect(front.address, front.port), 'ok');
      assert.equal(socket.connect(front.address, 54), 'ECONNREFUSED');
      assert.equal(socket.peerName(), at(front.address, front.port));
      assert.equal(socket.send('still'), 'ok');
      answer(receiver);
      assert.equal(socket.receive().from, at(front.address, front.port));
    });

    test('datagrams after a disconnect go to the backend that the connection had', () => {
      const [client, one, two] = [world.pod(0), world.pod(1), world.pod(2)];
      using r1 = world.receiver(one, 6, 5363);
      using r2 = world.receiver(two, 6, 5363);
      const front = { address: 'fd00:10:96::1:12', port: 53 };
      const backends = [one, two].map((pod) => ({ address: pod.addresses.v6, port: 5363 }));
      const service = row([front], backends, udp);
      world.apply(service);
      const counted = () =>
        world.datapath.services.backendCounters(service.key)!.map((c) => c.connections);
      for (let n = 0; n < 20; n++) {
        const before = counted();
        using socket = world.socket(client, 6, 'udp');
        assert.equal(socket.connect(front.address, front.port), 'ok');
        const chosen = counted().findIndex((count, i) => count !== before[i]);
        assert.equal(socket.disconnect(), 'ok');
        assert.equal(socket.send('x', front), 'ok');
        answer(chosen === 0 ? r1 : r2);
        assert.equal(socket.receive().from, at(front.address, front.port));
      }
    });

    test('sockets that share a port by SO_REUSEPORT can be connected to two services', () => {
      const [client, one] = [world.pod(0), world.pod(1)];
      using r1 = world.receiver(one, 4, 5364);
      using r2 = world.receiver(one, 4, 5365);
      const fronts = [13, 14].map((n) => ({ address: `10.96.1.${n}`, port: 53 }));
      const backend = (port: number) => ({ address: one.addresses.v4, port });
      world.apply(row([fronts[0]!], [backend(5364)], udp), row([fronts[1]!], [backend(5365)], udp));
      using s1 = world.socket(client, 4, 'udp');
      using s2 = world.socket(client, 4, 'udp');
      for (const [i, socket] of [s1, s2].entries()) {
        socket.reusePort();
        assert.equal(socket.bind('0.0.0.0', 5366), 'ok');
        assert.equal(socket.connect(fronts[i]!.address, 53), 'ok');
        assert.equal(socket.send(`socket ${i}`), 'ok');
      }
      answer(r2, 'second');
      answer(r1, 'first');
      assert.deepEqual(s1.receive(), { text: 'first', from: at(fronts[0]!.address, 53) });
      assert.deepEqual(s2.receive(), { text: 'second', from: at(fronts[1]!.address, 53) });
    });

    test('TCP and UDP on one port are two services', () => {
      const [client, one, two] = [world.pod(0), world.pod(1), world.pod(2)];
      using receiver = world.receiver(one, 4, 5358);
      using _listener = world.listener(two, 4, 5358);
      const front = { address: '10.96.1.9', port: 53 };
      world.apply(
        row([front], [{ address: one.addresses.v4, port: 5358 }], udp),
        row([front], [{ address: two.addresses.v4, port: 5358 }]),
      );
      using u = world.socket(client, 4, 'udp');
      assert.equal(u.send('x', front), 'ok');
      assert.equal(receiver.receive().text, 'x');
      using t = world.socket(client, 4, 'tcp');
      assert.equal(t.connect('10.96.1.9', 53), 'ok');
    });
  });
}
