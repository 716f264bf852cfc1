// A pod that has left its service may not know that its connections are over. What it still sends must not
// reach clients: they talked to the service's address, and know nothing of the pod's.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type LabHost, Tap } from '@heddle/lab';
import { eventually } from '@heddle/sys/testing/eventually';
import { type End, NodePackets } from '../../testing/node-packets.ts';
import { numbered } from '../../testing/numbered.ts';
import { World } from '../../testing/world.ts';
import { defaultNat } from '../nat/flow-options.ts';

const gone = 'no endpoints';
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

for (const end of ['v4', 'v6'] as const satisfies End[]) {
  describe(`a pod that was removed from its service, IP${end}`, () => {
    const family = end === 'v4' ? 4 : 6;
    let world: World;
    let packets: NodePackets;
    let client: LabHost;
    before(() => {
      world = new World(`removed-${end}`, 1, {
        lab: { outside: 1 },
        // Flows without a use are removed at once.
        nat: { ...defaultNat, timeouts: { ...defaultNat.timeouts, tcpReset: 1 } },
      });
      world.serveOutside();
      packets = new NodePackets(world, end);
      client = world.lab.outside[0]!;
    });
    after(() => world?.[Symbol.dispose]());

    const pod = () => world.pod(0);
    const serve = (port: number, protocol: 'TCP' | 'UDP', ...backends: string[]) =>
      world.apply(packets.service(port, backends, { key: `at ${port}`, protocol }));
    const flowsAt = (port: number) =>
      [...world.datapath.nat.flows()].filter(({ frontendPort }) => frontendPort === port);
    /** Waits longer than an ended connection stays in the table: two seconds and a sweep. */
    const untilForgotten = () => pause(3500);
    /** Returns the packets with the pod's own address as source, as texts. */
    const leaked = (tap: Tap) =>
      tap
        .drain()
        .map(({ packet }) => `${packet}`)
        .filter((text) => text.includes(pod().addresses[end]));

    for (const sender of ['client', 'pod'] as const) {
      test(`TCP, the ${sender} sends first: no data and no FIN of the pod reach the client`, async () => {
        const port = sender === 'client' ? 30_001 : 30_002;
        serve(port, 'TCP', pod().addresses[end]);
        using listener = world.listener(pod(), family, 8080);
        using socket = world.socket(client, family, 'tcp');
        assert.equal(socket.connect(packets.node, port), 'ok');
        using accepted = listener.accept();
        socket.send('hello');
        assert.equal(accepted.receive().text, 'hello');

        serve(port, 'TCP');
        if (sender === 'client') {
          socket.send('still there?');
          assert.throws(() => socket.receive(), { code: 'ECONNRESET' });
        }
        await untilForgotten();
        using tap = Tap.open(client, 'eth0');
        const before = world.datapath.drops.counts();
        accepted.send('bye');
        accepted[Symbol.dispose]();
        // Retransmissions come after 200 ms and later.
        await pause(1500);
        assert.deepEqual(leaked(tap), []);
        const dropped = world.datapath.drops.counts().map(({ reason, count }, i) => {
          return [reason, count - before[i]!.count] as const;
        });
        const [[reason, count] = ['', 0]] = dropped.filter(([, more]) => more > 0);
        assert.equal(reason, gone);
        assert.ok(count >= 2, `${count} were dropped`);
      });
    }

    test('TCP: the client connects again from the same port, to another backend', async () => {
      const port = 30_003;
      serve(port, 'TCP', pod().addresses[end]);
      using listener = world.listener(pod(), family, 8080);
      const any = end === 'v4' ? '0.0.0.0' : '::';
      const connect = (to: number) => {
        const socket = world.socket(client, family, 'tcp');
        socket.reuseAddress();
        assert.equal(socket.bind(any, 45_000), 'ok');
        assert.equal(socket.connect(packets.node, to), 'ok');
        return socket;
      };
      using first = connect(port);
      using accepted = listener.accept();
      serve(port, 'TCP');
      first.send('x');
      assert.throws(() => first.receive(), { code: 'ECONNRESET' });
      first[Symbol.dispose]();
      // Back again: as a backend of its own, by another use of its id.
      serve(port, 'TCP', pod().addresses[end]);
      using second = connect(port);
      using again = listener.accept();
      assert.equal(flowsAt(port).length, 2, 'the old entry remains for the pod’s packets');
      using tap = Tap.open(client, 'eth0');
      accepted.send('from before');
      assert.equal(second.send('hello'), 'ok');
      assert.equal(again.receive().text, 'hello');
      assert.equal(again.send('and back'), 'ok');
      assert.equal(second.receive().text, 'and back');
      await pause(500);
      assert.deepEqual(leaked(tap), []);
    });

    test('UDP: no datagram of the pod reaches the client, which gets another backend', async () => {
      const port = 30_004;
      serve(port, 'UDP', pod().addresses[end]);
      using server = world.receiver(pod(), family, 8080);
      using socket = world.socket(client, family, 'udp');
      assert.equal(socket.connect(packets.node, port), 'ok');
      socket.send('one');
      const { from } = server.receive();
      const at = from.lastIndexOf(':');
      const to = {
        address: from.slice(0, at).replace(/[[\]]/g, ''),
        port: Number(from.slice(at + 1)),
      };
      server.send('two', to);
      assert.equal(socket.receive().text, 'two');

      serve(port, 'UDP');
      await untilForgotten();
      using tap = Tap.open(client, 'eth0');
      server.send('three', to);
      await pause(200);
      assert.deepEqual(leaked(tap), []);
    });

    test("a connection that the pod opens between the same addresses is not the service's", () => {
      const port = 30_005;
      const own = pod().addresses[end];
      const from = client.addresses[end];
      serve(port, 'TCP', own);
      const way = { sport: 5000, dport: port };
      packets.ingress(packets.from(from, packets.node).tcp({ ...way, syn: true }));
      const back = { sport: 8080, dport: 5000 };
      const answer = (flags: object) =>
        packets.egress(packets.from(own, from).tcp({ ...back, ...numbered(flags) }));
      assert.equal(answer({ syn: true, ack: true }).verdict, 'pass');
      packets.ingress(packets.from(from, packets.node).tcp({ ...way, ...numbered({ ack: true }) }));
      serve(port, 'TCP');
      assert.equal(answer({ ack: true }).verdict, 'drop');
      const begun = answer({ syn: true });
      assert.equal(begun.verdict, 'pass');
      assert.ok(`${begun.packet}`.includes(own), 'untouched');
      const next = answer({ ack: true });
      assert.equal(next.verdict, 'pass');
      assert.ok(`${next.packet}`.includes(own));
    });

    test('a FIN that is not acknowledged is translated while it is repeated', async () => {
      const port = 30_006;
      const own = pod().addresses[end];
      const from = client.addresses[end];
      serve(port, 'TCP', own);
      const sides = (sport: number) => ({
        client: (flags: object) =>
          packets.ingress(
            packets.from(from, packets.node).tcp({ sport, dport: port, ...numbered(flags) }),
          ),
        pod: (flags: object) =>
          packets.egress(
            packets.from(own, from).tcp({ sport: 8080, dport: sport, ...numbered(flags) }),
          ),
      });
      const close = (sport: number) => {
        const { client, pod } = sides(sport);
        client({ syn: true });
        pod({ syn: true, ack: true });
        client({ ack: true });
        client({ fin: true, ack: true });
        pod({ fin: true, ack: true });
      };
      close(6000);
      close(6001);
      sides(6001).client({ ack: true });
      await untilForgotten();
      const ports = flowsAt(port).map(({ clientPort, state }) => `${clientPort} ${state}`);
      assert.deepEqual(ports, ['6000 closed'], 'the other one has had its last word');
      const { packet } = sides(6000).pod({ fin: true, ack: true });
      assert.ok(!`${packet}`.includes(own));
    });
  });
}

test('flows of removed backends are evicted when more than half of the table is used', async () => {
  using world = new World('removed-full', 1, {
    lab: { outside: 1 },
    nat: { ...defaultNat, timeouts: { ...defaultNat.timeouts, tcpReset: 1 } },
    sizes: { services: 100, backends: 100, slots: 1000, affinity: 100, flows: 100 },
  });
  world.serveOutside();
  const packets = new NodePackets(world, 'v4');
  const own = world.pod(0).addresses.v4;
  const from = world.lab.outside[0]!.addresses.v4;
  const establish = (count: number) => {
    for (let i = 0; i < count; i++) {
      const sport = 7000 + world.datapath.nat.status().flows;
      const way = { sport, dport: 30_001 };
      packets.ingress(packets.from(from, packets.node).tcp({ ...way, syn: true }));
      const answer = packets
        .from(own, from)
        .tcp({ sport: 8080, dport: sport, ...numbered({ syn: true, ack: true }) });
      packets.egress(answer);
      packets.ingress(packets.from(from, packets.node).tcp({ ...way, ...numbered({ ack: true }) }));
    }
  };
  const row = (...backends: string[]) => packets.service(30_001, backends, { key: 'k' });
  world.apply(row(own));
  establish(50);
  world.apply(row());
  await pause(3500);
  assert.equal(world.datapath.nat.status().flows, 50);
  world.apply(row(own));
  establish(1);
  const hasRoom = () => world.datapath.nat.status().flows <= 50;
  await eventually('flows of the removed backend are evicted', hasRoom, { stepMs: 50 });
});
