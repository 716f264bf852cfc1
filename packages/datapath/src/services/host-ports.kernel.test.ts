import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { clients, type End, NodePackets } from '../../testing/node-packets.ts';
import { World } from '../../testing/world.ts';

const loopback = { v4: '127.0.0.1', v6: '::1' } as const;
const unspecified = { v4: '0.0.0.0', v6: '::' } as const;

for (const end of ['v4', 'v6'] as const satisfies End[]) {
  describe(`packets to hostPorts, ${end}`, () => {
    let world: World;
    let packets: NodePackets;
    let pod: string;
    before(() => {
      world = new World(`host-ports-${end}`, 1, { mirrored: true });
      world.serveOutside();
      packets = new NodePackets(world, end);
      pod = world.node.pods[0]!.addresses[end];
    });
    after(() => world?.[Symbol.dispose]());

    const request = (dport: number, to: string) =>
      packets.from(clients[end], to).tcp({ sport: 20_000, dport, syn: true, seq: 1000 });
    const at = (address: string) =>
      packets.service(8080, [pod], { frontend: { kind: 'HostPort', address } });

    test('packets to a hostPort reach the pod, those to other ports the node', () => {
      world.apply(at(packets.node));
      assert.equal(packets.ingress(request(8080, packets.node)).verdict, 'send');
      assert.equal(packets.ingress(request(8081, packets.node)).verdict, 'pass');
    });

    test('a segment of no known connection to a hostPort is passed to the node', () => {
      world.apply(at(packets.node));
      const { src, dst } = { src: clients[end], dst: packets.node };
      const answer = packets
        .from(src, dst)
        .tcp({ sport: 443, dport: 8080, ack: true, seq: 5, ackSeq: 1001 });
      const drops = packets.drops(() => {
        const { verdict, packet } = packets.ingress(answer);
        assert.equal(verdict, 'pass');
        assert.deepEqual(packet.bytes, answer.bytes);
      });
      assert.deepEqual(drops, {});
    });

    // A neighbour can send such: to the kernel they are martians.
    test('an external packet to a loopback or unspecified address reaches no pod', () => {
      for (const address of [loopback[end], unspecified[end]]) {
        world.apply(at(address));
        const { verdict, packet } = packets.ingress(request(8080, address));
        assert.equal(verdict, 'pass', address);
        assert.deepEqual(packet.bytes, request(8080, address).bytes);
      }
    });
  });
}
