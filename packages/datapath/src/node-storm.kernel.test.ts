import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import {
  type BlockingSocket,
  connectTcp,
  floodWithSyns,
  type Packet,
  startBackend,
} from '@heddle/lab';
import { clients, type End, NodePackets } from '../testing/node-packets.ts';
import { World } from '../testing/world.ts';

describe('storms', () => {
  let world: World;
  beforeEach(() => {
    world = new World('storm', 1, {
      lab: { nodes: 2, outside: 1 },
      sizes: { services: 100, backends: 100, slots: 100, affinity: 100, flows: 8000 },
    });
    world.serveOutside();
  });
  afterEach(() => world?.[Symbol.dispose]());

  test('a flood of spoofed SYNs: every established connection goes on, and memory is bounded', async () => {
    const packets = new NodePackets(world, 'v4');
    const pod = world.lab.nodes[1]!.pods[0]!;
    const client = world.lab.outside[0]!;
    world.apply(packets.service(30_001, [pod.addresses.v4]));
    await startBackend(pod, { echo: [8080] });
    const to = { address: packets.node, port: 30_001 };
    const open = Array.from({ length: 1000 }, () => connectTcp(client, to));
    try {
      // HEDDLE_SYNS=2000000 for the whole of it.
      const count = Number(process.env.HEDDLE_SYNS ?? 100_000);
      await floodWithSyns(client, { to, count });
      const { flows, unanswered } = world.datapath.natStatus();
      assert.ok(unanswered <= 2000, 'a quarter of the table');
      assert.ok(flows < 8000);
      const { count: refused } = world.datapath
        .drops()
        .find(({ reason }) => reason.includes('unanswered'))!;
      assert.ok(refused > count / 2, `${refused} of ${count} were refused and counted`);
      for (const socket of open) {
        socket.send('still here');
        assert.equal(text(socket), 'still here');
      }
    } finally {
      for (const socket of open) socket[Symbol.dispose]();
    }
  });

  for (const end of ['v4', 'v6'] as const satisfies End[]) {
    test(`bytes of chance as packets, ${end}: never an error, never a leak`, () => {
      const packets = new NodePackets(world, end);
      const [pod] = world.node.pods;
      const remote = world.lab.nodes[1]!.pods[0]!;
      world.apply(
        packets.service(30_001, [pod!.addresses[end], remote.addresses[end]]),
        packets.service(30_001, [remote.addresses[end]], { protocol: 'UDP', key: 'udp' }),
      );
      const header = packets.from(clients[end], packets.node);
      const about = packets
        .bare(packets.from(packets.node, clients[end]))
        .udp({ sport: 30_001, dport: 5 });
      const seeds: Packet[] = [
        header.tcp({ sport: 5, dport: 30_001, syn: true }),
        header.tcp({ sport: 5, dport: 30_001, ack: true }).payload('x'),
        header.udp({ sport: 5, dport: 30_001 }).payload('question'),
        packets.icmp(header, { v4: 'port-unreachable', v6: 'port-unreachable' }, undefined, about),
        ...header.udp({ sport: 5, dport: 30_001 }).payload(100).fragments([48, 60]),
      ];
      const originals = seeds.map((seed) => seed.bytes);
      let state = 12345;
      const chance = (below: number) => {
        state = (Math.imul(state, 1103515245) + 12345) >>> 0;
        return Math.floor((state / 2 ** 32) * below);
      };
      const rounds = Number(process.env.HEDDLE_ROUNDS ?? 20_000);
      const verdicts = new Map<string, number>();
      packets.inside(() => {
        for (let i = 0; i < rounds; i++) {
          const bytes = originals[chance(originals.length)]!.slice();
          const last = chance(4) === 0 ? bytes.length : 54;
          for (let n = chance(4); n > 0; n--) bytes[12 + chance(last - 12)] = chance(256);
          // A test run wants a whole IP header.
          const least = end === 'v4' ? 34 : 54;
          const cut = chance(5) === 0 ? least + chance(bytes.length - least) : bytes.length;
          const run = chance(3) === 0 ? 'egress' : 'ingress';
          const { verdict } = packets[run](bytes.subarray(0, cut));
          verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
        }
      });
      assert.equal(verdicts.size, 3, 'all kinds came about');
      // Each flow has its two keys, and no key is without its flow.
      const { flows } = world.datapath.natStatus();
      const live = [...world.datapath.flows()].length;
      assert.equal(world.entriesOf('nat_index'), 2 * live);
      assert.ok(flows >= live);
    });
  }
});

function text(socket: BlockingSocket): string {
  return String.fromCharCode(...socket.receive());
}
