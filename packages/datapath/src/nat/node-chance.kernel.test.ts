import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { TestRunResult } from '@heddle/ebpf';
import type { Packet } from '@heddle/lab';
import { parseIp, SysError } from '@heddle/sys';
import { eventually } from '@heddle/sys/testing/eventually';
import { seededRandom } from '@heddle/vm/internal';
import { testNat } from '../../testing/nat.ts';
import { clients, type End, externals, NodePackets } from '../../testing/node-packets.ts';
import { type Frontend, PacketVerifier } from '../../testing/packet-verifier.ts';
import { setChecksums } from '../../testing/wire-packet.ts';
import { sizes, World } from '../../testing/world.ts';
import { defaultNat } from './flow-options.ts';

// HEDDLE_PACKETS=10000000 is the long run; HEDDLE_PACKETS_SEED starts elsewhere.
const count = Number(process.env.HEDDLE_PACKETS ?? 100_000);
const seed = Number(process.env.HEDDLE_PACKETS_SEED ?? 1);
/** Short, so that flows end and begin all the time. */
const second = 1;
const timeouts = Object.fromEntries(
  Object.keys(defaultNat.timeouts).map((name) => [name, second]),
) as unknown as typeof defaultNat.timeouts;
/** Packets that programs have sent, and whose answers are tried. */
const kept = 500;
const verdicts: Readonly<Record<number, 'pass' | 'drop' | 'send'>> = {
  4294967295: 'pass',
  2: 'drop',
  7: 'send',
};

describe('random packets', () => {
  for (const end of ['v4', 'v6'] as const satisfies End[]) {
    test(`${count / 2} random packets are translated correctly and leave no flow, ${end}`, async () => {
      using world = new World(`chance-${end}`, 1, {
        lab: { nodes: 2 },
        nat: { ...testNat, timeouts },
        sizes: { ...sizes, flows: 2000 },
      });
      world.serveOutside();
      const packets = new NodePackets(world, end);
      const local = world.pod(0).addresses[end];
      const remote = world.lab.nodes[1]!.pods[0]!.addresses[end];
      const external = { kind: 'LoadBalancer', address: externals[end] } as const;
      const peer = world.lab.nodes[1]!.addresses[end];
      world.datapath.nat.setTunnelEnds({ peers: [peer], own: [packets.node] });
      const tunnelled = { forwarding: 'dsr' } as const;
      world.apply(
        packets.service(30_005, [remote], { ...tunnelled, key: 'tunnelled' }),
        packets.service(30_001, [local, remote], { key: 'both' }),
        packets.service(30_002, [remote], { protocol: 'UDP', key: 'udp' }),
        packets.service(30_003, [remote], { protocol: 'SCTP', key: 'sctp' }),
        packets.service(30_004, [], { key: 'none' }),
        packets.service(80, [local, remote], { protocol: 'UDP', frontend: external, key: 'lb' }),
      );
      const bytes = (address: string) => {
        const all = parseIp(address)!;
        return String.fromCharCode(...(end === 'v4' ? all.subarray(12) : all));
      };
      const at = (address: string, port: number) => `${bytes(address)}:${port}`;
      const both = new Set([at(local, 8080), at(remote, 8080)]);
      const away = new Set([at(remote, 8080)]);
      const frontends: Frontend[] = [
        { protocol: 6, at: at(packets.node, 30_001), backends: both },
        { protocol: 6, at: at(packets.node, 30_005), backends: away },
        { protocol: 17, at: at(packets.node, 30_002), backends: away },
        { protocol: 132, at: at(packets.node, 30_003), backends: away },
        { protocol: 17, at: at(externals[end], 80), backends: both },
      ];
      const verifier = new PacketVerifier(
        frontends,
        { node: bytes(packets.node), peer: bytes(peer) },
        defaultNat.ports,
      );
      const chance = new Chance(corpus(packets, local, remote, peer), end, seed);
      const context = new Uint8Array(44);
      new DataView(context.buffer).setUint32(40, world.node.link('eth0').index, true);
      const programs = [
        world.datapath.programs.node.program('node_ingress'),
        world.datapath.programs.node.program('node_egress'),
      ];
      let refused = 0;
      world.node.enter(() => {
        const narrow = world.datapath.programs.node.map('narrow_paths');
        for (let i = 0; i < count / 2; i++) {
          // The effect of an ICMP error about a narrow path lasts for ten minutes.
          if (i % 1000 === 0) for (const key of [...narrow.keys()]) narrow.delete(key);
          const data = chance.next();
          const program = programs[chance.isLeaving ? 1 : 0]!;
          const result = accepted(() => program.testRun({ data, context, contextRoom: 192 }));
          if (!result) {
            refused++;
            continue;
          }
          const verdict = verdicts[result.returnValue];
          try {
            assert.ok(verdict, `it answered ${result.returnValue}`);
            verifier.verify(data, verdict, result.data);
          } catch (error) {
            const hex = (packet: Uint8Array) => Buffer.from(packet).toString('hex');
            throw new Error(
              `packet ${i}, ${program.name}: ${hex(data)} became ${hex(result.data)}`,
              { cause: error },
            );
          }
          if (verdict === 'send') chance.learn(result.data);
        }
      });
      assert.ok(refused < 0.05 * count, `${refused} were refused`);
      for (const [what, times] of Object.entries(verifier.seen)) {
        // An error about a tunnel comes about once in 10,000 packets: of a short run it isn't asked.
        const least = what === 'recovered' ? Math.floor(count / 1_000_000) : 2;
        assert.ok(times >= least, `${what}: ${times}`);
      }
      const isEmpty = () => world.datapath.nat.status().flows === 0;
      await eventually('all flows are collected', isEmpty, { ms: 20_000, stepMs: 100 });
      const { flows, unanswered } = world.datapath.nat.status();
      assert.deepEqual([flows, unanswered, world.flowKeys], [0, 0, 0]);
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

/** Packets that are like good ones, and answers to what was sent. */
class Chance {
  readonly #seeds: readonly Uint8Array[];
  readonly #answers: Uint8Array[] = [];
  readonly #end: End;
  readonly #random: () => number;
  isLeaving = false;

  constructor(seeds: readonly Uint8Array[], end: End, seed: number) {
    this.#seeds = seeds;
    this.#end = end;
    this.#random = seededRandom(seed);
  }

  next(): Uint8Array {
    const seeds = this.#below(3) === 0 && this.#answers.length > 0 ? this.#answers : this.#seeds;
    const packet = seeds[this.#below(seeds.length)]!.slice();
    this.isLeaving = this.#below(3) === 0;
    const transport = this.#end === 'v4' ? 34 : 54;
    // Uses other ports of the client, so that flows are created and found again.
    if (seeds === this.#seeds) packet[transport + 1] = this.#below(64);
    const kind = this.#below(10);
    if (kind < 5) {
      // Flags, or another type.
      if (this.#below(2) === 0 && packet.length > transport + 13) {
        packet[transport + 13] = this.#random();
      }
      setChecksums(packet);
      return packet;
    }
    if (kind === 9 && this.#below(4) === 0) {
      for (let i = 12 + 2 * this.#below(2); i < packet.length; i++) packet[i] = this.#random();
      return packet;
    }
    const last = this.#below(4) === 0 ? packet.length : Math.min(packet.length, transport + 20);
    for (let n = this.#below(4); n >= 0; n--) packet[12 + this.#below(last - 12)] = this.#random();
    if (this.#below(2) === 0) setChecksums(packet);
    if (this.#below(5) > 0) return packet;
    return packet.subarray(0, transport + this.#below(packet.length - transport));
  }

  /** Something was sent: its ends the other way round may be met with. */
  learn(sent: Uint8Array): void {
    const packet = sent.slice();
    const swap = (one: number, other: number, length: number) => {
      packet.set(sent.subarray(one, one + length), other);
      packet.set(sent.subarray(other, other + length), one);
    };
    const [source, length] = this.#end === 'v4' ? [26, 4] : [22, 16];
    const transport = source + 2 * length;
    if (packet.length < transport + 4) return;
    swap(0, 6, 6);
    swap(source, source + length, length);
    swap(transport, transport + 2, 2);
    if (this.#answers.length < kept) this.#answers.push(packet);
    else this.#answers[this.#below(kept)] = packet;
  }

  #below(limit: number): number {
    return this.#random() % limit;
  }
}

/** Returns a packet of each kind that programs distinguish. */
function corpus(packets: NodePackets, local: string, remote: string, peer: string): Uint8Array[] {
  const { end, node } = packets;
  const client = clients[end];
  const header = packets.from(client, node);
  const toBalancer = packets.from(client, externals[end]);
  const about = packets.bare(packets.from(node, client)).udp({ sport: 30_002, dport: 5 });
  const echo =
    end === 'v4'
      ? toBalancer.icmp({ type: 'echo-request', id: 1, sequence: 1 })
      : toBalancer.icmpv6({ type: 'echo-request', id: 1, sequence: 1 });
  const inTunnel = (outer: Packet) =>
    end === 'v4' ? outer.ipv4({ src: client, dst: node }) : outer.ipv6({ src: client, dst: node });
  const init = { type: 'init', value: new Uint8Array(16) } as const;
  return [
    ...[30_001, 30_004, 30_005].flatMap((dport) => [
      header.tcp({ sport: 5, dport, syn: true }),
      header.tcp({ sport: 5, dport, ack: true }).payload('x'),
      header.tcp({ sport: 5, dport, ack: true, fin: true }),
    ]),
    header.udp({ sport: 5, dport: 30_002 }).payload('question'),
    toBalancer.udp({ sport: 5, dport: 80 }).payload('question'),
    toBalancer.udp({ sport: 5, dport: 81 }).payload('question'),
    header.sctp({ sport: 5, dport: 30_003, tag: 0, chunks: [init] }),
    echo.payload('are you there?'),
    packets.icmp(header, { v4: 'port-unreachable', v6: 'port-unreachable' }, undefined, about),
    ...header.udp({ sport: 5, dport: 30_002 }).payload(100).fragments([48, 60]),
    packets.from(local, client).tcp({ sport: 8080, dport: 5, syn: true, ack: true }),
    packets.from(local, client).udp({ sport: 8080, dport: 5 }).payload('answer'),
    packets.from(remote, node).udp({ sport: 8080, dport: 5000 }).payload('answer'),
    // A tunnel packet from another node, one from an unknown host, and an error about one to another node.
    ...[peer, client].flatMap((from) => [
      inTunnel(packets.from(from, local)).tcp({ sport: 5, dport: 30_001, syn: true }),
      inTunnel(packets.from(from, local)).tcp({ sport: 5, dport: 30_001, ack: true }).payload('x'),
    ]),
    packets.icmp(
      packets.from(peer, node),
      { v4: 'fragmentation-needed', v6: 'packet-too-big' },
      1400,
      inTunnel(packets.bare(packets.from(node, remote))).tcp({
        sport: 5,
        dport: 30_005,
        ack: true,
      }),
    ),
    // Nothing that a service has to do with.
    packets.from(client, remote).tcp({ sport: 5, dport: 22, ack: true }).payload('x'),
    header.udp({ sport: 5, dport: 53 }).payload('x'),
  ].map((packet) => packet.bytes);
}
