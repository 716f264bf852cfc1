import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { assertPacket, type Packet, type Tcp } from '@heddle/lab';
import { eventually } from '@heddle/sys/testing/eventually';
import { clients, type End, NodePackets } from '../../testing/node-packets.ts';
import { numbered } from '../../testing/numbered.ts';
import { sizes, World } from '../../testing/world.ts';
import { defaultNat } from './flow-options.ts';

const client = clients.v4;

/** A TCP connection to a remote backend, packet by packet. */
class Connection {
  readonly packets: NodePackets;
  readonly sport: number;
  readonly dport: number;
  readonly backend: string;
  /** The source that the backend sees. */
  port = 0;

  constructor(packets: NodePackets, sport: number, dport: number, backend: string) {
    this.packets = packets;
    this.sport = sport;
    this.dport = dport;
    this.backend = backend;
  }

  /** Runs a segment of the client; returns the verdict. */
  client(flags: Partial<Tcp>): string {
    const { packets, sport, dport } = this;
    const segment = packets.from(client, packets.node).tcp({ sport, dport, ...numbered(flags) });
    const { verdict, packet } = packets.ingress(segment);
    if (verdict !== 'send') return verdict;
    const tcp = packet.layers.find((layer) => layer.kind === 'tcp')!;
    const ip = packet.layers.find((layer) => layer.kind === 'ipv4')!;
    if (ip.dst !== this.backend) return tcp.rst ? 'reset' : `sent to ${ip.dst}`;
    this.port = tcp.sport;
    return 'forwarded';
  }

  server(flags: Partial<Tcp>): string {
    const { packets, port, backend } = this;
    const ends = { sport: 8080, dport: port };
    const segment = packets.from(backend, packets.node).tcp({ ...ends, ...numbered(flags) });
    const { verdict, packet } = packets.ingress(flags.psh ? segment.payload('x') : segment);
    if (verdict !== 'send') return verdict;
    const tcp = packet.layers.find((layer) => layer.kind === 'tcp')!;
    return tcp.dport === this.sport && tcp.sport === this.dport ? 'translated' : `${packet}`;
  }

  handshake(): void {
    assert.equal(this.client({ syn: true }), 'forwarded');
    assert.equal(this.server({ syn: true, ack: true }), 'translated');
    assert.equal(this.client({ ack: true }), 'forwarded');
    assert.equal(this.server({ ack: true, psh: true }), 'translated');
  }

  get state(): string | undefined {
    const { datapath } = this.packets.world;
    return [...datapath.nat.flows()].find(
      (flow) => flow.clientPort === this.sport && flow.frontendPort === this.dport,
    )?.state;
  }
}

describe('TCP flows', () => {
  let world: World;
  let packets: NodePackets;
  let remote: string;
  let sport = 40_000;
  before(() => {
    world = new World('flows', 1, {
      lab: { nodes: 2 },
      mirrored: true,
      // Soon, but later than a packet that the mirror has run twice, which takes long with coverage.
      nat: { ...defaultNat, timeouts: { ...defaultNat.timeouts, tcpReset: 4 } },
    });
    world.serveOutside();
    packets = new NodePackets(world, 'v4');
    remote = world.lab.nodes[1]!.pods[0]!.addresses.v4;
    world.apply(packets.service(30_001, [remote]));
  });
  after(() => world?.[Symbol.dispose]());

  const connection = () => new Connection(packets, ++sport, 30_001, remote);
  const flows = () => world.datapath.nat.status();

  test('the states of a connection that either end closes first', () => {
    const first = connection();
    assert.equal(first.client({ syn: true }), 'forwarded');
    assert.equal(first.state, 'syn');
    assert.equal(first.server({ syn: true, ack: true }), 'translated');
    assert.equal(first.state, 'syn-ack');
    assert.equal(first.client({ ack: true }), 'forwarded');
    assert.equal(first.state, 'established');
    assert.equal(first.client({ fin: true, ack: true }), 'forwarded');
    assert.equal(first.state, 'half-closed by the client');
    assert.equal(first.server({ ack: true, psh: true }), 'translated', 'the other half goes on');
    assert.equal(first.server({ fin: true, ack: true }), 'translated');
    assert.equal(first.state, 'closed');
    assert.equal(first.client({ ack: true }), 'forwarded', 'the last word');

    const second = connection();
    second.handshake();
    assert.equal(second.server({ fin: true, ack: true }), 'translated');
    assert.equal(second.state, 'half-closed by the backend');
    assert.equal(second.client({ fin: true, ack: true }), 'forwarded');
    assert.equal(second.state, 'closed by the backend');
  });

  test('a reset flow ends soon, and counts as unconfirmed until it is deleted', async () => {
    const before = flows();
    const refused = connection();
    refused.client({ syn: true });
    assert.equal(flows().unanswered, before.unanswered + 1);
    assert.equal(refused.server({ rst: true, ack: true }), 'translated');
    assert.equal(refused.state, 'reset');
    assert.equal(flows().unanswered, before.unanswered + 1);
    await eventually('the flow is collected', () => refused.state === undefined);
    assert.equal(refused.server({ ack: true }), 'pass', 'no flow has its port');
    await eventually('its entry is free', () => flows().flows <= before.flows);
    assert.equal(flows().unanswered, before.unanswered);
  });

  test('a client port is used again after its connection is closed', () => {
    const again = connection();
    again.handshake();
    const first = again.port;
    assert.equal(again.client({ syn: true }), 'forwarded', 'a lost SYN’s copy');
    assert.equal(again.port, first);
    again.client({ fin: true, ack: true });
    again.server({ fin: true, ack: true });
    assert.equal(again.client({ syn: true }), 'forwarded');
    assert.equal(again.state, 'syn');
  });

  test('a draining backend keeps its connections; those of a removed one are reset', () => {
    const other = '10.244.2.200';
    const draining = { address: remote, port: 8080, state: 'draining', weight: 1 } as const;
    const kept = connection();
    kept.handshake();
    const service = packets.service(30_001, [other]);
    world.apply({ ...service, backends: [draining, ...service.backends] });
    assert.equal(kept.client({ ack: true }), 'forwarded');
    assert.equal(connection().client({ syn: true }), `sent to ${other}`);
    world.apply(service);
    assert.equal(kept.client({ ack: true }), 'pass', 'the stack resets it');
    assert.equal(
      kept.client({ syn: true }),
      `sent to ${other}`,
      'a new connection gets another backend',
    );
    world.apply(packets.service(30_001, [remote]));
  });
});

describe('limits of the flow table', () => {
  let world: World;
  let packets: NodePackets;
  let remote: string;
  before(() => {
    world = new World('limits', 1, {
      lab: { nodes: 2 },
      mirrored: true,
      // The table is small: all maps are compared after each packet.
      sizes: { ...sizes, flows: 101 },
      nat: { ...defaultNat, ports: { first: 5000, last: 5029 } },
    });
    world.serveOutside();
    packets = new NodePackets(world, 'v4');
    remote = world.lab.nodes[1]!.pods[0]!.addresses.v4;
    world.apply(
      packets.service(30_001, [remote]),
      packets.service(30_002, [world.node.pods[0]!.addresses.v4]),
    );
  });
  after(() => world?.[Symbol.dispose]());

  const noPort = 'all SNAT ports of this node towards the backend are in use';

  test('every SNAT port is found; then new flows are refused and old ones continue', () => {
    const ports = new Set<number>();
    const connections = Array.from(
      { length: 30 },
      (_, i) => new Connection(packets, 10_000 + i, 30_001, remote),
    );
    for (const connection of connections) {
      connection.handshake();
      ports.add(connection.port);
    }
    assert.deepEqual(
      [...ports].sort(),
      Array.from({ length: 30 }, (_, i) => 5000 + i),
    );
    const counted = packets.drops(() => {
      const late = new Connection(packets, 11_000, 30_001, remote);
      assert.equal(late.client({ syn: true }), 'drop');
      assert.equal(late.state, undefined, 'nothing is left of it');
    });
    assert.deepEqual(counted, { [noPort]: 1 });
    for (const connection of connections) {
      assert.equal(connection.client({ ack: true }), 'forwarded');
    }
  });

  test('the SNAT port of a closed connection is used when no other is free', async () => {
    const open = (sport: number) => new Connection(packets, sport, 30_001, remote);
    const others = [...world.datapath.nat.flows()];
    const over = others.pop();
    const past = open(over!.clientPort);
    past.port = over!.sourcePort;
    assert.equal(past.server({ fin: true, ack: true }), 'translated');
    assert.equal(past.client({ fin: true, ack: true }), 'forwarded');
    assert.equal(past.state, 'closed by the backend');
    // A search without result is not repeated within the same tick.
    await sleep(1100);
    const next = open(12_000);
    next.handshake();
    assert.equal(next.port, over!.sourcePort);
    assert.equal(past.state, undefined);
    for (const { clientPort } of others) {
      assert.equal(open(clientPort).client({ ack: true }), 'forwarded');
    }
    packets.drops(() => assert.equal(open(12_001).client({ syn: true }), 'drop'));
  });

  test('a SYN flood takes at most its share and ends no connection', () => {
    const before = world.datapath.nat.status();
    const established = new Connection(packets, 10_000, 30_001, remote);
    const counted = packets.drops(() => {
      for (let i = 0; i < 60; i++) {
        const spoofed = packets
          .from(`198.18.0.${i}`, packets.node)
          .tcp({ sport: 1234, dport: 30_002, syn: true });
        packets.ingress(spoofed);
      }
    });
    const after = world.datapath.nat.status();
    assert.equal(after.unanswered, after.unansweredLimit);
    const evicted = (status: typeof after) =>
      status.evicted.reduce((sum, { count }) => sum + count, 0);
    assert.equal(
      evicted(after) - evicted(before),
      60 - (after.unansweredLimit - before.unanswered),
    );
    assert.deepEqual(counted, {}, 'nothing is refused');
    assert.equal(established.client({ ack: true, psh: true }), 'forwarded');
  });
});

for (const end of ['v4', 'v6'] as const satisfies End[]) {
  describe(`ICMP errors about translated packets, ${end}`, () => {
    let world: World;
    let packets: NodePackets;
    before(() => {
      world = new World(`icmp-${end}`, 1, { lab: { nodes: 2 }, mirrored: true });
      world.serveOutside();
      packets = new NodePackets(world, end);
    });
    after(() => world?.[Symbol.dispose]());

    const from = clients[end];
    const router = end === 'v4' ? '192.0.2.200' : 'fd00:192:0:2::200';
    const names = { v4: 'fragmentation-needed', v6: 'packet-too-big' };
    let port = 30_000;

    for (const kind of ['tcp', 'udp'] as const) {
      for (const where of ['local', 'remote'] as const) {
        test(`${kind} to and from a ${where} backend is translated`, () => {
          const node = world.lab.nodes[where === 'local' ? 0 : 1]!;
          const backend = node.pods[0]!.addresses[end];
          const dport = ++port;
          const protocol = kind === 'tcp' ? 'TCP' : 'UDP';
          world.apply(packets.service(dport, [backend], { protocol }));
          const l4 = (packet: Packet, sport: number, dport: number) =>
            kind === 'tcp'
              ? packet.tcp({ sport, dport, syn: true, seq: 9 }).payload('some text')
              : packet.udp({ sport, dport }).payload('some text');
          const sport = 7000;
          const request = packets.ingress(l4(packets.from(from, packets.node), sport, dport));
          assert.equal(request.verdict, 'send');
          const away = request.packet.layers.find(
            (layer) => layer.kind === 'tcp' || layer.kind === 'udp',
          )!;
          const seen = where === 'local' ? from : packets.node;
          const bare = (src: string, dst: string) =>
            packets.bare(packets.from(src, dst, { ttl: 60 }));

          // About the request, from a router behind this node (or the pod itself): it bears the address
          // that the client knows.
          const there = where === 'local' ? backend : router;
          const about = l4(bare(seen, backend), away.sport, 8080);
          const error = packets.icmp(packets.from(there, seen), names, 1280, about);
          const outcome = where === 'local' ? packets.egress(error) : packets.ingress(error);
          assert.equal(outcome.verdict, where === 'local' ? 'pass' : 'send');
          const told = packets.icmp(
            where === 'local'
              ? packets.from(packets.node, from)
              : packets.to(packets.node, from, { ttl: 63 }),
            names,
            1280,
            l4(bare(from, packets.node), sport, dport),
          );
          assert.equal(lines(outcome.packet), lines(told));

          // About the answer, from a router on the client's side.
          const reply = l4(bare(packets.node, from), dport, sport);
          const back = packets.ingress(
            packets.icmp(packets.from(router, packets.node), names, 1280, reply),
          );
          assert.equal(back.verdict, 'send');
          const inner = l4(bare(backend, seen), 8080, away.sport);
          // A backend that doesn't see the client doesn't see who is on the client's side, either.
          const teller = where === 'local' ? router : packets.node;
          const expected = packets.icmp(packets.from(teller, backend), names, 1280, inner);
          assert.equal(
            lines(back.packet).replace(/ttl 63|hop-limit 63/, ''),
            lines(expected).replace(/ttl 64|hop-limit 64/, ''),
          );
        });
      }
    }

    test('an ICMP error that embeds only the ports is translated', () => {
      const backend = world.lab.nodes[1]!.pods[0]!.addresses[end];
      world.apply(packets.service(30_100, [backend]));
      const syn = packets.from(from, packets.node).tcp({ sport: 7001, dport: 30_100, syn: true });
      const request = packets.ingress(syn);
      const away = request.packet.layers.find((layer) => layer.kind === 'tcp')!;
      const header = end === 'v4' ? 20 : 40;
      const about = packets
        .bare(packets.from(packets.node, backend))
        .tcp({ sport: away.sport, dport: 8080, syn: true })
        .first(header + 8);
      const outcome = packets.ingress(
        packets.icmp(packets.from(router, packets.node), names, 1280, about),
      );
      assert.equal(outcome.verdict, 'send');
      const told = packets
        .bare(packets.from(from, packets.node))
        .tcp({ sport: 7001, dport: 30_100, syn: true });
      const expected = packets.icmp(
        packets.to(packets.node, from, { ttl: 63 }),
        names,
        1280,
        told.first(header + 8),
      );
      assertPacket(outcome.packet.bytes, expected);
    });

    test('an ICMP error about another packet is passed to the node', () => {
      const other = packets.bare(packets.from(packets.node, from)).udp({ sport: 9, dport: 9 });
      const error = packets.icmp(packets.from(router, packets.node), names, 1280, other);
      assert.equal(packets.ingress(error).verdict, 'pass');
    });
  });
}

/** Returns all but the frame. */
function lines(packet: Packet): string {
  return `${packet}`.split('\n').slice(1).join('\n');
}
