import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { TestRunResult } from '@heddle/ebpf';
import { SysError } from '@heddle/sys';
import { seededRandom } from '@heddle/vm/internal';
import {
  clients,
  contextOf,
  type End,
  NodePackets,
  packetHooks,
  xdpOf,
} from '../../testing/node-packets.ts';
import { World } from '../../testing/world.ts';

// HEDDLE_DIFFERENTIAL_RUNS=1000000 is the long run; HEDDLE_DIFFERENTIAL_SEED starts elsewhere.
const runs = Number(process.env.HEDDLE_DIFFERENTIAL_RUNS ?? 4000);
const seed = Number(process.env.HEDDLE_DIFFERENTIAL_SEED ?? 1);
/** Packets after which the machine takes over the kernel's maps, so that old flows go in both. */
const stretch = 2000;

const TC_ACT_REDIRECT = 7;
const XDP_TX = 3;

describe('random packets, in the kernel and in the userspace machine', () => {
  for (const packetHook of packetHooks)
    for (const end of ['v4', 'v6'] as const satisfies End[]) {
      test(`${runs / 2} random packets get the same verdicts and bytes, by ${packetHook}, ${end}`, () => {
        using world = new World(`differential-${end}`, 1, {
          lab: { nodes: 2 },
          sizes: { services: 100, backends: 100, slots: 100, affinity: 100, flows: 4000 },
          xdp: xdpOf(packetHook),
        });
        world.serveOutside();
        const packets = new NodePackets(world, end);
        const local = world.pod(0).addresses[end];
        const remote = world.lab.nodes[1]!.pods[0]!.addresses[end];
        // One backend each: the draw of one among several is the kernel's own.
        world.apply(
          packets.service(30_001, [local], { key: 'local' }),
          packets.service(30_002, [remote], { key: 'remote' }),
          packets.service(30_002, [remote], { protocol: 'UDP', key: 'udp' }),
          packets.service(30_003, [], { key: 'none' }),
        );
        const random = seededRandom(seed);
        const below = (limit: number) => random() % limit;
        const seeds = corpus(packets, [local, remote]);
        const { node, xdp } = world.datapath.programs;
        using mirror = xdp ? world.mirrorOf(xdp, 'xdp') : world.mirrorOf(node);
        const sent = xdp ? XDP_TX : TC_ACT_REDIRECT;
        const ifindex = world.node.link('eth0').index;
        let refused = 0;
        world.node.enter(() => {
          for (let i = 0; i < runs / 2; i++) {
            if (i % stretch === 0) mirror.synchronize();
            const bytes = seeds[below(seeds.length)]!.slice();
            // Uses other ports of the client, so that flows are created and found again.
            bytes[(end === 'v4' ? 34 : 54) + 1] = below(32);
            const last = below(4) === 0 ? bytes.length : 54;
            for (let n = below(4); n > 0; n--) bytes[12 + below(last - 12)] = random();
            const least = end === 'v4' ? 34 : 54;
            const cut = below(5) === 0 ? least + below(bytes.length - least) : bytes.length;
            const data = bytes.subarray(0, cut);
            const tc = below(3) === 0 ? 'node_egress' : 'node_ingress';
            const name = xdp ? 'node_xdp' : tc;
            const options = { data, ...contextOf(name, ifindex, data) };
            const result = accepted(() => mirror.follow(name, options));
            if (!result) {
              refused++;
              continue;
            }
            // A packet that was sent may be answered by one with source and destination exchanged.
            if (result.returnValue === sent && seeds.length < 200)
              seeds.push(answerTo(result.data, end));
          }
        });
        assert.ok(refused < 0.05 * runs, `${refused} packets were refused`);
        assert.ok(mirror.followed > 0.9 * (runs / 2 - refused), `${mirror.followed} at once`);
      });
    }
});

/** Undefined for what a test run doesn't take: less than the header that its EtherType promises. */
function accepted(run: () => TestRunResult): TestRunResult | undefined {
  try {
    return run();
  } catch (error) {
    if (error instanceof SysError && error.code === 'EINVAL') return undefined;
    throw error;
  }
}

/** Returns the first packets, of every kind that the programs distinguish. */
function corpus(packets: NodePackets, backends: readonly string[]): Uint8Array[] {
  const client = clients[packets.end];
  const header = packets.from(client, packets.node);
  const bare = packets.bare(packets.from(packets.node, client));
  const about = bare.udp({ sport: 30_002, dport: 5 });
  const ports = [30_001, 30_002, 30_003];
  return [
    ...ports.flatMap((dport) => [
      header.tcp({ sport: 5, dport, syn: true }),
      header.tcp({ sport: 5, dport, ack: true }).payload('x'),
      header.tcp({ sport: 5, dport, ack: true, fin: true }),
      header.tcp({ sport: 5, dport, rst: true }),
      header.udp({ sport: 5, dport }).payload('question'),
    ]),
    packets.icmp(header, { v4: 'port-unreachable', v6: 'port-unreachable' }, undefined, about),
    ...header.udp({ sport: 5, dport: 30_002 }).payload(100).fragments([48, 60]),
    ...backends.map((from) => packets.from(from, client).tcp({ sport: 8080, dport: 5, ack: true })),
  ].map((packet) => packet.bytes);
}

/** Ends of a frame, of a packet and of its ports the other way round; checksums stay right. */
function answerTo(packet: Uint8Array, end: End): Uint8Array {
  const answer = packet.slice();
  const swap = (one: number, other: number, length: number) => {
    answer.set(packet.subarray(one, one + length), other);
    answer.set(packet.subarray(other, other + length), one);
  };
  swap(0, 6, 6);
  if (end === 'v4') swap(26, 30, 4);
  else swap(22, 38, 16);
  const transport = end === 'v4' ? 34 : 54;
  if (packet.length >= transport + 4) swap(transport, transport + 2, 2);
  return answer;
}
