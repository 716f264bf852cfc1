import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { BpfMap } from '@heddle/ebpf';
import type { Tcp } from '@heddle/lab';
import type { ServiceRow } from '@heddle/services';
import { clients, NodePackets } from '../../testing/node-packets.ts';
import { numbered } from '../../testing/numbered.ts';
import { row } from '../../testing/rows.ts';
import { sizes, World } from '../../testing/world.ts';
import { currentPins } from '../core/pinned-maps.ts';
import {
  decodeServiceRefusal,
  encodeServiceRefusal,
  serviceRefusalSize,
} from '../generated/abi.ts';
import { defaultNat } from '../nat/flow-options.ts';

describe('counts of refused packets and calls by service', () => {
  let world: World;
  let packets: NodePackets;
  let remote: string;
  let sport = 20_000;
  const ports = { first: 5000, last: 5003 };
  before(() => {
    world = new World('refusals', 1, {
      lab: { nodes: 2 },
      nat: { ...defaultNat, ports },
      // Half of them may be unconfirmed.
      sizes: { ...sizes, flows: 40 },
    });
    world.serveOutside();
    packets = new NodePackets(world, 'v4');
    remote = world.lab.nodes[1]!.pods[0]!.addresses.v4;
  });
  after(() => world?.[Symbol.dispose]());

  /** Counts by reason. */
  const refused = (key: string) =>
    Object.fromEntries(
      world.datapath.services.rowRefusals(key).map(({ reason, count }) => [reason, count] as const),
    );
  const syn = (dport: number, from: string = clients.v4) =>
    packets.ingress(packets.from(from, packets.node).tcp({ sport: ++sport, dport, syn: true }));

  /** Opens a connection to the backend on another node that both sides confirm, so that its port is not reused. */
  const connect = (dport: number) => {
    const { packet } = syn(dport);
    const there = { dport: packet.layer('tcp')!.sport, sport: 8080 };
    const back = (flags: Partial<Tcp>) =>
      packets.from(remote, packets.node).tcp({ ...there, ...numbered(flags) });
    const here = packets.from(clients.v4, packets.node).tcp({
      ...{ sport, dport, ...numbered({ ack: true }) },
    });
    packets.ingress(back({ syn: true, ack: true }));
    assert.equal(packets.ingress(here).verdict, 'send');
    packets.ingress(back({ ack: true }).payload('hello'));
  };

  test('a refusal is counted for its service only, at sockets and at interfaces', () => {
    const clusterIP = '10.96.0.1';
    const served: ServiceRow = row(
      [
        { kind: 'ClusterIP', address: clusterIP, port: 80 },
        { kind: 'NodePort', address: packets.node, port: 30_001 },
      ],
      [],
      { key: 'empty' },
    );
    world.apply(served, packets.service(30_002, [remote], { key: 'served' }));
    assert.deepEqual([refused('empty'), refused('nobody')], [{}, {}]);
    for (const [place, address, port] of [
      [world.pod(0), clusterIP, 80],
      [world.node, clusterIP, 80],
      [world.lab.underlay, packets.node, 30_001],
    ] as const) {
      using socket = world.socket(place, 4, 'tcp');
      assert.equal(socket.connect(address, port), 'ECONNREFUSED');
    }
    assert.deepEqual(refused('empty'), { 'no endpoints': 3 });

    // A port that no service has counts for no service.
    using socket = world.socket(world.pod(0), 4, 'tcp');
    assert.equal(socket.connect(clusterIP, 81), 'ECONNREFUSED');
    const toClusterIP = packets.from(clients.v4, clusterIP).tcp({ sport: 1, dport: 81, syn: true });
    assert.equal(packets.ingress(toClusterIP).verdict, 'drop');
    assert.deepEqual(refused('empty'), { 'no endpoints': 3 });
    assert.deepEqual(refused('served'), {});
    world.datapath.services.remove(['empty', 'served']);
  });

  test('refused datagrams of a socket are counted', () => {
    const address = '10.96.0.2';
    world.apply(
      row([{ kind: 'ClusterIP', address, port: 53, protocol: 'UDP' }], [], {
        ...{ key: 'datagrams', protocol: 'UDP' },
      }),
    );
    using loose = world.socket(world.pod(0), 4, 'udp');
    using connected = world.socket(world.pod(0), 4, 'udp');
    for (let i = 0; i < 3; i++)
      assert.equal(loose.send('x', { address, port: 53 }), 'ECONNREFUSED');
    assert.equal(connected.connect(address, 53), 'ECONNREFUSED');
    assert.deepEqual(refused('datagrams'), { 'no endpoints': 4 });
    world.datapath.services.remove(['datagrams']);
  });

  test('each reason is counted separately', () => {
    const ranged = packets.service(80, [remote], {
      key: 'ranged',
      frontend: { kind: 'LoadBalancer', address: '198.51.100.9' },
      sourceRanges: ['198.18.1.0/24'],
    });
    world.apply(
      ranged,
      packets.service(30_003, [], { key: 'silent', silent: true }),
      packets.service(30_004, [remote], { key: 'narrow' }),
    );
    const enter = (from: string) =>
      packets.ingress(
        packets.from(from, '198.51.100.9').tcp({ sport: ++sport, dport: 80, syn: true }),
      ).verdict;
    assert.deepEqual([enter('198.18.1.1'), enter('198.18.2.2')], ['send', 'drop']);
    assert.deepEqual(refused('ranged'), {
      'the client is not in loadBalancerSourceRanges': 1,
    });

    for (let i = 0; i < 2; i++) assert.equal(syn(30_003).verdict, 'drop');
    assert.deepEqual(refused('silent'), {
      'no endpoint on this node, and externalTrafficPolicy is Local': 2,
    });

    for (let i = 0; i < 4; i++) connect(30_004);
    for (let i = 0; i < 2; i++) syn(30_004);
    assert.deepEqual(refused('narrow'), {
      'all SNAT ports of this node towards the backend are in use': 2,
    });
    world.datapath.services.remove(['ranged', 'silent', 'narrow']);
  });

  test('SYNs of a flood are not counted, as older flows are evicted', () => {
    world.apply(packets.service(30_005, [world.pod(0).addresses.v4], { key: 'flooded' }));
    const { maxFlows } = world.datapath.nat.status();
    for (let i = 0; i < 2 * maxFlows; i++) syn(30_005, `198.18.5.${i}`);
    assert.deepEqual(refused('flooded'), {});
    world.datapath.services.remove(['flooded']);
  });

  const open = () =>
    BpfMap.openPinned(world.bpf, `${currentPins(world.node.bpffs).maps}/service_refused`);
  const entryOf = (service: number, reason: number) => {
    const key = new Uint8Array(serviceRefusalSize);
    encodeServiceRefusal({ service, reason }, key);
    return key;
  };

  test('counts survive a restart, and are deleted with the service', () => {
    const rows = [30_006, 30_007].map((port) => packets.service(port, [], { key: `at ${port}` }));
    world.apply(...rows);
    for (const port of [30_006, 30_007]) syn(port);
    assert.equal(world.entriesOf('service_refused'), 2);
    // A killed agent may leave counts of a service that no longer exists.
    using map = open();
    map.update(entryOf(4_000_000, 158), new Uint8Array(8));

    world.restart();
    world.serveOutside();
    world.apply(...rows);
    world.datapath.services.prune(rows);
    assert.equal(world.entriesOf('service_refused'), 2);
    assert.deepEqual(refused('at 30006'), { 'no endpoints': 1 });
    syn(30_006);
    assert.deepEqual(refused('at 30006'), { 'no endpoints': 2 });
    // Another version of the row is the same service.
    world.apply(packets.service(30_006, [remote], { key: 'at 30006' }));
    assert.deepEqual(refused('at 30006'), { 'no endpoints': 2 });

    world.datapath.services.remove(['at 30006']);
    assert.deepEqual(refused('at 30007'), { 'no endpoints': 1 });
    assert.equal(world.entriesOf('service_refused'), 1);
    world.restart();
    world.serveOutside();
    assert.equal(world.entriesOf('service_refused'), 1);
    world.datapath.services.prune([]);
    assert.equal(world.entriesOf('service_refused'), 0, 'the other one is pruned');
  });

  test('refusals are not counted for services beyond the size of the map', () => {
    using map = open();
    const { maxEntries } = map.info;
    const value = new Uint8Array(8);
    for (let i = 0; i < maxEntries; i++) map.update(entryOf(5_000_000 + i, 158), value);
    world.apply(packets.service(30_008, [], { key: 'late' }));
    const counted = packets.drops(() => assert.equal(syn(30_008).verdict, 'send', 'a reset'));
    assert.deepEqual(counted, { 'no endpoints': 1 });
    assert.deepEqual(refused('late'), {});
    world.datapath.services.remove(['late']);
    const left = Array.from(map.entries(), ([key]) => decodeServiceRefusal(key).service);
    assert.deepEqual(left, [], 'all of them were of services that are not there');
  });
});
