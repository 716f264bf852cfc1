import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { eventually } from '@heddle/sys/testing/eventually';
import { PodWorld } from '../../testing/pod-world.ts';
import { TestPolicies, type TestPolicy } from '../../testing/policies.ts';
import type { TestSocket } from '../../testing/sockets/sockets.ts';

for (const [end, family] of [
  ['v4', 4],
  ['v6', 6],
] as const) {
  describe(`TCP connections that are older than the policies of their pods, ${end}`, () => {
    let world: PodWorld;
    let policies: TestPolicies;
    let client: TestSocket;
    let server: TestSocket;
    let port = 8080;
    before(() => {
      world = new PodWorld(`older-${end}`, 2, { lab: { nodes: 2 } });
      world.serveOutside();
      policies = new TestPolicies(world);
    });
    beforeEach(() => {
      port++;
      policies.clear();
    });
    after(() => {
      policies?.[Symbol.dispose]();
      world?.[Symbol.dispose]();
    });

    const address = (number: number) => world.pod(number).addresses[end];
    const remote = () => world.lab.nodes[1]!.pods[0]!;
    /** Opens a connection from one pod to another one. */
    const open = (
      from: Parameters<PodWorld['socket']>[0],
      to: Parameters<PodWorld['socket']>[0],
    ) => {
      const listener = world.listener(to, family, port);
      client = world.socket(from, family, 'tcp');
      assert.equal(client.connect(to.addresses[end], port), 'ok');
      server = listener.accept();
      exchange();
    };
    const exchange = () => {
      assert.equal(server.send('hello'), 'ok');
      assert.equal(client.receive().text, 'hello');
      assert.equal(client.send('and back'), 'ok');
      assert.equal(server.receive().text, 'and back');
    };
    const drops = () => world.drops('policyDefault');
    const direct = () =>
      [...world.datapath.nat.flows()]
        .filter(({ forwarding, backendPort }) => forwarding === 'direct' && backendPort === port)
        .map(({ client: from, backend }) => [from, backend]);

    const sides = {
      'of two pods of the node': () => [world.pod(1), world.pod(0)] as const,
      'from a pod of another node': () => [remote(), world.pod(0)] as const,
    };
    for (const [title, ends] of Object.entries(sides)) {
      test(`one ${title} goes on in both directions if its opening is allowed`, () => {
        const [from, to] = ends();
        open(from, to);
        // The server may not open connections, but it may go on with this one, and speaks first.
        const allowed: TestPolicy = {
          egress: {},
          ingress: {
            rules: [{ peers: [from.addresses[end]], ports: [{ protocol: 'TCP', port }] }],
          },
        };
        policies.set({ 0: allowed });
        const before = drops();
        exchange();
        assert.equal(drops(), before);
        assert.deepEqual(direct(), [[from.addresses[end], to.addresses[end]]]);
      });

      test(`one ${title} ends if its opening is denied, whichever side sends`, async () => {
        const [from, to] = ends();
        open(from, to);
        policies.set({ 0: { ingress: {} } });
        // The server's egress is free, but the connection is not its own.
        for (const [sender, receiver] of [
          [server, client],
          [client, server],
        ] as const) {
          const before = drops();
          assert.equal(sender.send('denied'), 'ok');
          await eventually('the segment is dropped', () => drops() > before);
          assert.equal(receiver.receiveNow(), undefined);
        }
        assert.deepEqual(direct(), []);
      });
    }

    test('one to a pod of another node goes on, and its replies arrive', () => {
      open(world.pod(0), remote());
      const peer = {
        peers: [remote().addresses[end]],
        ports: [{ protocol: 'TCP', port }],
      } as const;
      policies.set({ 0: { egress: { rules: [peer] }, ingress: {} } });
      const before = drops();
      exchange();
      assert.equal(drops(), before);
      assert.deepEqual(direct(), [[address(0), remote().addresses[end]]]);
    });

    test('one of the node to its pod goes on', () => {
      open(world.node, world.pod(0));
      policies.set({ 0: { egress: {}, ingress: {} } });
      const before = drops();
      exchange();
      assert.equal(drops(), before);
    });
  });
}
