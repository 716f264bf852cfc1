import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Packet, Tcp } from '@heddle/lab';
import { clients, type End, NodePackets, packetHooks, xdpOf } from '../../testing/node-packets.ts';
import { sizes, World } from '../../testing/world.ts';
import { defaultNat } from './flow-options.ts';
import type { FlowEntry } from './flows.ts';

const flows = 256;
/** So many packets as fill the table three times. */
const flood = 3 * flows;
const ports = { first: 5000, last: 5039 };

/** A connection of a client to a service, whose backend is on this node or on another one. */
class Connection {
  readonly #packets: NodePackets;
  readonly #client: string;
  readonly #dport: number;
  readonly #sport: number;
  readonly #backend: { readonly address: string; readonly isLocal: boolean };
  #source: { address: string; port: number } | undefined;

  constructor(
    packets: NodePackets,
    ends: { client: string; sport: number; dport: number },
    backend: { readonly address: string; readonly isLocal: boolean },
  ) {
    this.#packets = packets;
    this.#client = ends.client;
    this.#sport = ends.sport;
    this.#dport = ends.dport;
    this.#backend = backend;
  }

  begin(): void {
    const { verdict, packet } = this.#fromClient({ syn: true, seq: 1000 });
    assert.equal(verdict, 'send', 'the connection begins');
    const ip = packet.layer('ipv4') ?? packet.layer('ipv6')!;
    this.#source = { address: ip.src, port: packet.layer('tcp')!.sport };
  }

  answer(): void {
    this.#fromBackend({ syn: true, ack: true, seq: 5000, ackSeq: 1001 });
  }

  /** The client confirms, and asks; the backend answers. */
  confirm(): void {
    const { verdict, packet } = this.#fromClient({ ack: true, seq: 1001, ackSeq: 5001 }, 'ask');
    assert.equal(verdict, 'send');
    const ip = packet.layer('ipv4') ?? packet.layer('ipv6')!;
    assert.equal(ip.dst, this.#backend.address, 'it goes to the backend that it began with');
    this.#fromBackend({ ack: true, seq: 5001, ackSeq: 1004 });
  }

  /** The client gives it up. */
  end(): void {
    this.#fromClient({ rst: true, ack: true, seq: 1004, ackSeq: 5001 });
  }

  whole(): this {
    this.begin();
    this.answer();
    this.confirm();
    return this;
  }

  #fromClient(flags: Partial<Tcp>, text = '') {
    const { node } = this.#packets;
    const ends = { sport: this.#sport, dport: this.#dport };
    const segment = this.#packets.from(this.#client, node).tcp({ ...ends, ...flags });
    return this.#packets.ingress(text ? segment.payload(text) : segment);
  }

  #fromBackend(flags: Partial<Tcp>): void {
    const { address, port } = this.#source!;
    const ends = { sport: 8080, dport: port };
    const segment = this.#packets.from(this.#backend.address, address).tcp({ ...ends, ...flags });
    const { verdict, packet } = this.#backend.isLocal
      ? this.#packets.egress(segment)
      : this.#packets.ingress(segment);
    assert.equal(verdict, this.#backend.isLocal ? 'pass' : 'send');
    const ip = packet.layer('ipv4') ?? packet.layer('ipv6')!;
    assert.equal(ip.dst, this.#client, 'the answer reaches the client');
    assert.equal(packet.layer('tcp')!.sport, this.#dport, 'by the port of the service');
  }
}

const services = { local: 30_001, remote: 30_002, udp: 30_003, sctp: 30_004, other: 30_005 };

for (const packetHook of packetHooks) {
  for (const end of ['v4', 'v6'] as const satisfies End[]) {
    describe(`eviction of unconfirmed flows, by ${packetHook}, ${end}`, () => {
      let world: World;
      let packets: NodePackets;
      let local: { address: string; isLocal: boolean };
      let remote: { address: string; isLocal: boolean };
      let sport = 10_000;
      before(() => {
        world = new World('eviction', 1, {
          lab: { nodes: 2 },
          sizes: { ...sizes, flows },
          nat: { ...defaultNat, ports },
          xdp: xdpOf(packetHook),
        });
        world.serveOutside();
        packets = new NodePackets(world, end);
        local = { address: world.pod(0).addresses[end], isLocal: true };
        remote = {
          address: world.lab.nodes[1]!.pods[0]!.addresses[end],
          isLocal: false,
        };
        world.apply(
          packets.service(services.local, [local.address]),
          packets.service(services.other, [local.address]),
          packets.service(services.remote, [remote.address]),
          packets.service(services.udp, [local.address], { protocol: 'UDP' }),
          packets.service(services.sctp, [remote.address], { protocol: 'SCTP' }),
        );
      });
      after(() => world?.[Symbol.dispose]());

      const client = clients[end];
      const spoofed = (i: number) =>
        end === 'v4' ? `198.18.${i >> 8}.${i & 255}` : `fd00:198:18:${i.toString(16)}::1`;
      const connection = (dport: number, backend = local) =>
        new Connection(packets, { client, sport: ++sport, dport }, backend);
      const status = () => world.datapath.nat.status();
      const evictions = () => status().evicted.reduce((sum, { count }) => sum + count, 0);
      /** Sends `flood` packets, none of which may be dropped, and has `meanwhile` happen now and then. */
      const send = (packet: (i: number) => Packet, meanwhile: () => void) => {
        const before = evictions();
        const dropped = packets.drops(() => {
          for (let i = 0; i < flood; i++) {
            packets.ingress(packet(i));
            if (i % 32 === 31) meanwhile();
          }
        });
        assert.deepEqual(dropped, {}, 'nothing is refused');
        assert.ok(evictions() - before > flood / 2, `${evictions() - before} were evicted`);
        const { unanswered, unansweredLimit, flows: used, maxFlows } = status();
        assert.ok(unanswered <= unansweredLimit, `${unanswered} of ${unansweredLimit}`);
        assert.ok(used <= maxFlows);
      };
      const syn = (from: string, dport: number, sport = 1024) =>
        packets.from(from, packets.node).tcp({ sport, dport, syn: true });

      const kinds: Readonly<Record<string, (i: number) => Packet>> = {
        'SYNs to a backend on this node': (i) => syn(spoofed(i), services.local),
        'SYNs to a backend elsewhere, more than there are SNAT ports': (i) =>
          syn(spoofed(i), services.remote),
        'datagrams to a silent port': (i) =>
          packets.from(spoofed(i), packets.node).udp({ sport: 1024, dport: services.udp }),
        'first fragments': (i) =>
          packets
            .from(spoofed(i), packets.node, { ttl: 64 })
            .udp({ sport: 1024, dport: services.udp })
            .payload(100)
            .fragments([56, 56], i)[0]!,
        'INITs of SCTP': (i) =>
          packets.from(spoofed(i), packets.node).sctp({
            ...{ sport: 1024, dport: services.sctp, tag: 0 },
            chunks: [{ type: 'init', value: new Uint8Array(16) }],
          }),
      };
      for (const [kind, packet] of Object.entries(kinds)) {
        test(`new connections succeed during a flood of ${kind}`, () => {
          const open = connection(services.local);
          open.whole();
          send(packet, () => {
            connection(services.other).whole().end();
            connection(services.local).whole().end();
            connection(services.remote, remote).whole().end();
          });
          open.confirm();
          open.end();
          connection(services.other).whole().end();
        });
      }

      test('a flood at one service evicts no handshake of another one', () => {
        const handshake = connection(services.other);
        handshake.begin();
        send(
          (i) => syn(spoofed(i), services.local),
          () => {},
        );
        handshake.answer();
        handshake.confirm();
        handshake.end();
      });

      test('a flood from one address evicts no handshake of another client', () => {
        const handshake = connection(services.local);
        handshake.begin();
        const from = spoofed(7);
        send(
          (i) => syn(from, services.local, 1024 + i),
          () => {},
        );
        handshake.answer();
        handshake.confirm();
        handshake.end();
      });

      test('a UDP flood at many ports evicts no TCP handshake', () => {
        const many = Array.from({ length: 20 }, (_, i) => 31_000 + i);
        world.apply(
          ...many.map((port) => packets.service(port, [local.address], { protocol: 'UDP' })),
        );
        const handshake = connection(services.other);
        handshake.begin();
        send(
          (i) =>
            packets
              .from(spoofed(i), packets.node)
              .udp({ sport: 1024, dport: many[i % many.length]! }),
          () => {},
        );
        handshake.answer();
        handshake.confirm();
        handshake.end();
      });

      test('new connections succeed during a flood at a port that the backend refuses', () => {
        const before = evictions();
        for (let i = 0; i < flood; i++) {
          packets.ingress(syn(spoofed(i), services.local));
          const reset = packets
            .from(local.address, spoofed(i))
            .tcp({ sport: 8080, dport: 1024, rst: true, ack: true, ackSeq: 1 });
          packets.egress(reset);
          if (i % 32 === 31) connection(services.other).whole().end();
        }
        assert.ok(evictions() - before > flood / 2);
      });

      test('closed connections are evicted when the table is full', () => {
        for (let i = 0; i < 2 * flows; i++) connection(services.local).whole().end();
      });
    });
  }
}

for (const packetHook of packetHooks) {
  describe(`a flow table with a long range of free entries, by ${packetHook}`, () => {
    const tableSize = 1024;
    const unconfirmed = tableSize / 2;
    let world: World;
    let packets: NodePackets;
    let local: { address: string; isLocal: boolean };
    let sport = 10_000;
    before(() => {
      world = new World('sparse', 1, {
        lab: { nodes: 2 },
        sizes: { ...sizes, flows: tableSize },
        nat: { ...defaultNat, ports },
        xdp: xdpOf(packetHook),
      });
      world.serveOutside();
      packets = new NodePackets(world, 'v4');
      local = { address: world.pod(0).addresses.v4, isLocal: true };
      world.apply(
        packets.service(services.local, [local.address]),
        packets.service(services.other, [local.address]),
      );
    });
    after(() => world?.[Symbol.dispose]());

    const connection = (dport: number) =>
      new Connection(packets, { client: clients.v4, sport: ++sport, dport }, local);
    let sent = 0;
    const flood = (count: number) => {
      for (let i = 0; i < count; i++, sent++) {
        const from = `198.18.${sent >> 8}.${sent & 255}`;
        const ends = { sport: 1024, dport: services.local, syn: true };
        packets.ingress(packets.from(from, packets.node).tcp(ends));
      }
    };
    const flush = (fits: (flow: FlowEntry) => boolean) => {
      for (const flow of [...world.datapath.nat.flows()]) {
        if (fits(flow)) assert.equal(world.datapath.nat.endFlow(flow.number, fits), true);
      }
    };

    test('a handshake in the free range survives a flood in the rest of the table', () => {
      // 32 groups of entries, more than a search looks at. With fewer free ones a bucket of the index may be full.
      const open = tableSize / 4;
      for (let i = 0; i < open; i++) connection(services.other).whole();
      flood(unconfirmed);
      // One unconfirmed flow ends first, so that the handshake evicts none; it takes the entry that was freed last.
      flush(({ number }) => number === open + 8);
      const middle = open / 2;
      flush(({ number }) => number <= open && number !== middle);
      flush(({ number }) => number === middle);
      for (const service of [services.other, services.local]) {
        const handshake = connection(service);
        handshake.begin();
        // One or two may have been evicted for their slot of the index.
        assert.ok(world.datapath.nat.status().unanswered > unconfirmed - 4);
        // Each of these evicts a flow, so the search passes all groups; none of the oldest half is the handshake.
        const dropped = packets.drops(() => flood(unconfirmed / 4));
        assert.deepEqual(dropped, {});
        handshake.answer();
        handshake.confirm();
        flush(({ frontendPort, confirmed }) => frontendPort === service && confirmed);
      }
    });

    test('entries of flushed flows are free at once', () => {
      flush(() => true);
      assert.equal(world.datapath.nat.status().flows, 0);
      const dropped = packets.drops(() => {
        // With more connections at a time, the index may have no slot for one. Three times as many need entries
        // that were used before.
        for (let round = 0; round < 3; round++) {
          for (let i = 0; i < tableSize / 2; i++) connection(services.other).whole();
          flush(() => true);
        }
      });
      assert.deepEqual(dropped, {});
    });
  });
}
