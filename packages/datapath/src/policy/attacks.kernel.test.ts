import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Packet } from '@heddle/lab';
import { PodWorld } from '../../testing/pod-world.ts';
import { type Path, PolicyStage, serverPort } from '../../testing/policy-stage.ts';

/** The other sides of a pod that are no exception. */
const peers = ['a pod of the node', 'a pod of another node', 'the world'] as const satisfies Path[];

for (const end of ['v4', 'v6'] as const) {
  describe(`packets that try to pass network policies, ${end}`, () => {
    let world: PodWorld;
    let stage: PolicyStage;
    before(() => {
      world = new PodWorld(`policy-attack-${end}`, 3, { lab: { nodes: 2, outside: 1 } });
      stage = new PolicyStage(world, end);
    });
    after(() => {
      stage?.[Symbol.dispose]();
      world?.[Symbol.dispose]();
    });

    const isolated = { 0: { ingress: {} } } as const;
    const segments = {
      'a SYN-ACK': { syn: true, ack: true },
      'an ACK': { ack: true },
      'a FIN': { fin: true, ack: true },
      'a reset': { rst: true },
      'a segment without flags': {},
      'a SYN with a reset': { syn: true, rst: true },
    } as const;

    for (const path of peers) {
      for (const [name, flags] of Object.entries(segments)) {
        test(`${name} without a connection does not reach an isolated pod from ${path}`, () => {
          stage.policies.set(isolated);
          const connection = stage.connection('tcp', path, false);
          const bare = { syn: false, ack: false, ...flags };
          stage.expectDenied(stage.more(connection, false, bare), name);
        });
      }

      test(`an echo reply without a request does not reach an isolated pod from ${path}`, () => {
        stage.policies.set(isolated);
        const connection = stage.connection('icmp', path, true);
        stage.expectDenied(stage.reply(connection), 'reply');
      });

      test(`an ICMP error about nothing does not reach an isolated pod from ${path}`, () => {
        stage.policies.set(isolated);
        const connection = stage.connection('udp', path, true);
        stage.expectDenied(stage.error(connection), 'error');
      });

      test(`an ICMP error about a connection of the pod reaches it from ${path}`, () => {
        const connection = stage.connection('udp', path, true);
        stage.policies.set(isolated);
        stage.expectPassed(stage.request(connection), connection, 'request');
        stage.expectPassed(stage.error(connection), connection, 'error');
        // Another pod's connection is none of the pod.
        stage.policies.set({ ...isolated, 2: { ingress: {} } });
        stage.expectDenied(stage.error(connection, 2), 'error to another pod');
      });

      test(`a SYN to the port of a connection that the pod has opened is judged for itself, from ${path}`, () => {
        stage.policies.set(isolated);
        const connection = stage.connection('tcp', path, true);
        stage.open(connection);
        const syn = { syn: true, ack: false };
        stage.expectDenied(stage.more(connection, true, syn), 'SYN');
        stage.expectPassed(stage.more(connection, true), connection, 'the connection goes on');
      });

      test(`a denied connection leaves nothing behind, from ${path}`, () => {
        stage.policies.set(isolated);
        const before = world.datapath.nat.used;
        const connection = stage.connection('tcp', path, false);
        stage.expectDenied(stage.request(connection), 'request');
        assert.equal(world.datapath.nat.used, before);
      });

      test(`other protocols are judged packet by packet, from ${path}`, () => {
        const connection = stage.connection('udp', path, false);
        const odd = (ip: Packet) =>
          (end === 'v4'
            ? ip.with('ipv4', { protocol: 99 })
            : ip.with('ipv6', { nextHeader: 99 })
          ).payload(20);
        stage.policies.set(isolated);
        stage.expectDenied(stage.run(connection, false, odd), 'isolated');
        const address = stage.addressOf(path);
        const ports = [{ protocol: 'TCP' }] as const;
        stage.policies.set({ 0: { ingress: { rules: [{ peers: [address], ports }] } } });
        stage.expectDenied(stage.run(connection, false, odd), 'a rule of TCP');
        stage.policies.set({ 0: { ingress: { rules: [{ peers: [address] }] } } });
        stage.expectPassed(
          stage.run(connection, false, odd),
          connection,
          'a rule of all protocols',
        );
      });

      test(`fragments belong to the connection of the first one, and none comes alone, from ${path}`, () => {
        const connection = stage.connection('udp', path, false);
        const send = (id: number) => stage.fragments(connection, id).map(({ verdict }) => verdict);
        stage.policies.set({ 0: { ingress: { rules: [stage.rule('udp', path)] } } });
        assert.deepEqual(send(77), ['send', 'send', 'send']);
        stage.policies.set(isolated);
        const [first, ...later] = send(78);
        assert.equal(first, 'drop');
        // A later fragment may wait for the first one a few times.
        assert.ok(
          later.every((verdict) => verdict === 'drop'),
          later.join(),
        );
      });
    }

    test('a packet with the address of the node is not the node’s', () => {
      stage.policies.set({ 0: { egress: {}, ingress: {} } });
      const own = stage.addressOf('the node');
      const fill = (ip: Packet) => ip.tcp({ sport: 5, dport: serverPort, syn: true });
      const drops = stage.drops(() => {
        const arriving = stage.node.ingress(fill(stage.node.from(own, stage.pods.podAddress(0))));
        stage.expectDenied(arriving, 'an external packet');
        const sent = stage.pods.send(
          1,
          fill(stage.pods.fromPod(1, stage.pods.podAddress(0), { src: own })),
        );
        stage.expectDenied(sent, 'a packet of a pod');
      });
      assert.deepEqual(drops, { invalidSource: 2 });
      // Nor does an entry of the node's own connection help.
      const connection = stage.connection('tcp', 'the node', false);
      stage.open(connection);
      const [sport, dport] = stage.ports(connection, false);
      const segment = stage.node
        .from(own, stage.pods.podAddress(0))
        .tcp({ sport, dport, ack: true });
      stage.expectDenied(stage.node.ingress(segment), 'a segment of the node’s connection');
    });

    test('a packet with the address of a pod of this node does not arrive from elsewhere', () => {
      const connection = stage.connection('tcp', 'a pod of the node', false);
      stage.policies.set({ 0: { ingress: { rules: [stage.rule('tcp', 'a pod of the node')] } } });
      stage.open(connection);
      const [sport, dport] = stage.ports(connection, false);
      const forged = stage.node.from(stage.pods.podAddress(1), stage.pods.podAddress(0));
      const drops = stage.drops(() =>
        stage.expectDenied(stage.node.ingress(forged.tcp({ sport, dport, ack: true })), 'forged'),
      );
      assert.deepEqual(drops, { invalidSource: 1 });
    });

    if (end === 'v6') {
      test('a message of neighbour discovery to another link needs a rule', () => {
        stage.policies.set({ 0: { egress: {} } });
        for (const path of peers) {
          for (const type of [135, 136]) {
            const ip = stage.pods.fromPod(0, stage.addressOf(path));
            const message = ip.with('ipv6', { nextHeader: 58 }).payload(24);
            const outcome = stage.pods.send(0, message, (bytes) => bytes.set([type], 14 + 40));
            stage.expectDenied(outcome, `${type} to ${path}`);
          }
        }
      });
    }

    test('a packet for another address does not reach a policed pod through its interface', () => {
      stage.policies.set({ 0: { ingress: { rules: [{}] } } });
      const other = end === 'v4' ? '192.0.2.9' : '2001:db8::9';
      const source = stage.addressOf('the world');
      const frame = stage.framedTo(0, stage.node.from(source, other)).udp({ sport: 5, dport: 6 });
      stage.expectDenied(stage.toPod(0, frame.payload('hello')), 'another address');
    });

    test('a mark that a pod sets on its packet is ignored', () => {
      stage.policies.set(isolated);
      const packet = stage.pods.fromPod(1, stage.pods.podAddress(0)).udp({ sport: 5, dport: 6 });
      stage.expectDenied(stage.pods.send(1, packet.payload('hello')), 'from_pod');
      stage.expectDenied(stage.toPod(0, stage.framedTo(0, packet).payload('hello')), 'to_pod');
    });

    test('connections of pods without policies have no entries', () => {
      stage.policies.set({ 2: { egress: {}, ingress: {} } });
      const before = world.datapath.nat.used;
      for (const protocol of ['tcp', 'udp'] as const) {
        for (const path of ['a pod of the node', 'a pod of another node', 'the world'] as const) {
          for (const isFromPod of [true, false]) {
            stage.open(stage.connection(protocol, path, isFromPod));
          }
        }
      }
      assert.equal(world.datapath.nat.used, before);
    });
  });

  describe(`network policies while the flow table is full, ${end}`, () => {
    test('a new connection of a policed pod is dropped, and a known one goes on', () => {
      using world = new PodWorld(`policy-full-${end}`, 2, {
        lab: { nodes: 2, outside: 1 },
        sizes: { services: 100, backends: 100, slots: 1000, affinity: 100, flows: 5 },
      });
      using stage = new PolicyStage(world, end);
      stage.policies.set({ 0: { ingress: { rules: [{}] } } });
      // No client alone holds more entries than are left to others.
      const connections = [...peers, 'the node' as const].map((path) =>
        stage.connection('tcp', path, false),
      );
      for (const connection of connections) stage.open(connection);
      const next = stage.connection('tcp', 'a pod of the node', false);
      const drops = stage.drops(() => stage.expectDenied(stage.request(next), 'request'));
      assert.deepEqual(drops, { tableFull: 1 });
      for (const connection of connections) {
        stage.expectPassed(stage.more(connection), connection, 'known');
      }
    });
  });
}
